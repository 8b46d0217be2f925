"""The trainer service: GRPO on trajectories from the generators."""

from importlib import metadata

_VERSION = metadata.version("deepmath-trainer")
_FOUND = next((found.version for found in metadata.distributions(name="deepmath-services")), None)
if _FOUND != _VERSION:
    raise ImportError(
        f"deepmath-trainer {_VERSION} needs deepmath-services {_VERSION}, which is "
        f"{f'installed as {_FOUND}' if _FOUND else 'not installed'}: install both from one checkout or release"
    )
