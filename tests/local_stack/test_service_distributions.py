"""Whether the distributions of the services are installed."""

import sys

import pytest

from deepmath import __version__
from deepmath.errors import Unavailable
from deepmath.local_stack.local_services import LocalServices
from deepmath.local_stack.service_distributions import SERVICES, check_installed, installed_version


@pytest.mark.parametrize("service", SERVICES)
def test_installed_service_has_the_version_of_the_base(service: str) -> None:
    check_installed(service)
    assert installed_version(service) == __version__


def test_unknown_distribution_has_no_version() -> None:
    assert installed_version("no-such-service") is None


async def test_service_that_is_not_installed_is_unavailable(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "deepmath_trainer", None)
    async with LocalServices() as services:
        with pytest.raises(
            Unavailable, match="the trainer service is not installed: install deepmath-trainer"
        ) as error:
            await services.start("trainer")
    assert "pip install" not in str(error.value)
