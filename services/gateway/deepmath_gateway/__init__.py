"""The gateway service: HTTP protocols in front of the generator and the executors."""

from importlib import metadata

_VERSION = metadata.version("deepmath-gateway")
_FOUND = next((found.version for found in metadata.distributions(name="deepmath-services")), None)
if _FOUND != _VERSION:
    raise ImportError(
        f"deepmath-gateway {_VERSION} needs deepmath-services {_VERSION}, which is "
        f"{f'installed as {_FOUND}' if _FOUND else 'not installed'}: install both from one checkout or release"
    )
