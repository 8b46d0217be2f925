"""A verifier that the tests of this folder share."""

from collections.abc import Iterator

import pytest

from deepmath.grading.verifier import Verifier


@pytest.fixture(scope="session")
def patient() -> Iterator[Verifier]:
    """A verifier whose timeout no terminating comparison reaches, even on a busy machine."""
    with Verifier(1, 60.0) as verifier:
        yield verifier
