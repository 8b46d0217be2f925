"""The generator service: vLLM with one model, and the agent loop around it."""

from importlib import metadata

_VERSION = metadata.version("deepmath-generator")
_FOUND = next((found.version for found in metadata.distributions(name="deepmath-services")), None)
if _FOUND != _VERSION:
    raise ImportError(
        f"deepmath-generator {_VERSION} needs deepmath-services {_VERSION}, which is "
        f"{f'installed as {_FOUND}' if _FOUND else 'not installed'}: install both from one checkout or release"
    )
