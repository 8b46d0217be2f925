"""Clients of the services, for programs and for the services themselves."""

from deepmath.clients.executor_client import ExecutorClient
from deepmath.clients.executor_session import ExecutorSession
from deepmath.clients.generator_client import GeneratorClient
from deepmath.clients.host_functions import HostFunction
from deepmath.clients.snippet_output import OutputHandler
from deepmath.clients.trainer_client import TrainerClient

__all__ = ["ExecutorClient", "ExecutorSession", "GeneratorClient", "HostFunction", "OutputHandler", "TrainerClient"]
