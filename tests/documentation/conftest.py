"""A Docker engine and the executor's image, for the documented containers."""

from support.docker_engine import docker_engine, image  # noqa: F401  (fixtures)
