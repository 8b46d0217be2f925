"""The wheels of the five distributions, and an environment that has nothing else of ours."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh virtual environment with the wheels; they are in dist/."""
    folder = tmp_path_factory.mktemp("wheels") / "environment"
    install = ["make", "--no-print-directory", "install-wheels", f"ENVIRONMENT={folder}"]
    installed = subprocess.run(install, cwd=ROOT, capture_output=True, text=True, check=False)
    assert installed.returncode == 0, installed.stderr
    return folder
