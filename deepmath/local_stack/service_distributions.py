"""The distributions of the services: whether they are installed beside this one, and in which version."""

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from deepmath import __version__
from deepmath.errors import Unavailable

SERVICES = ("executor", "generator", "trainer", "gateway")


def installed_version(service: str) -> str | None:
    """Return the version of the distribution of `service`; None if it is not installed."""
    try:
        return version(f"deepmath-{service}")
    except PackageNotFoundError:
        return None


def check_installed(service: str) -> None:
    """Check that `service` can be started on this machine.

    Raises:
        Unavailable: Its distribution is not installed.
    """
    if find_spec(f"deepmath_{service}") is None:
        raise Unavailable(f"the {service} service is not installed: {how_to_install(service)}")


def how_to_install(service: str) -> str:
    """Return how to install `service`: never from an index, where nobody has released that name."""
    return (
        f"install deepmath-{service} {__version__} from the checkout (`make install`) or from its wheel; "
        "it is not on a package index"
    )
