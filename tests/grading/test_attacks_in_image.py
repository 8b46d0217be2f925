"""The attacks on grading in the executor's image, with the security context of the trainer's manifest.

The image contains the sandbox, our code and sympy. math-verify, pytest and the tests are mounted; all are pure Python.
"""

import re
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

import pytest
from support.docker_engine import HARDENED_TRAINER, docker, docker_engine, image  # noqa: F401  (fixtures)

pytestmark = pytest.mark.slow

LENT = ("math-verify", "latex2sympy2-extended", "antlr4-python3-runtime", "pytest", "pluggy", "iniconfig", "packaging")
TESTS = Path(__file__).parents[1]
# The shell, as the first process, reaps orphans: the tests count processes.
PYTEST = "python -P -m pytest -q -c /dev/null -p no:cacheprovider -o pythonpath=/tests --rootdir=/tests"
RUN = f"{PYTEST} /tests/attacks; exit $?"


def lent(folder: str) -> Iterator[str]:
    """Yield the options that mount what the image lacks; its libraries are in `folder`."""
    for name in LENT:
        files = distribution(name).files or []
        for top in sorted({file.parts[0] for file in files} - {"..", "__pycache__"}):
            yield f"--volume={distribution(name).locate_file(top)}:{folder}/{top}:ro"
    for tests in (TESTS / "grading" / "attacks", TESTS / "support"):
        yield f"--volume={tests}:/tests/{tests.name}:ro"


def test_attacks_are_held_in_a_container_like_the_trainers(image: str) -> None:  # noqa: F811
    find = "import sysconfig; print(sysconfig.get_path('purelib'))"
    folder = docker("run", "--rm", "--network=none", "--entrypoint=python", image, "-c", find).stdout.strip()
    options = ("--rm", "--network=none", *HARDENED_TRAINER, "--tmpfs=/tmp:mode=1777", *lent(folder))
    ran = docker("run", *options, "--entrypoint=sh", image, "-c", RUN)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    passed = re.search(r"(\d+) passed", ran.stdout)
    assert passed, ran.stdout
    assert int(passed[1]) > 75, ran.stdout
