"""The contracts: lint-clean, compatible with the released ones, and in line with the checked-in stubs."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RELEASED = ROOT / "protos" / "released.binpb"
BUF = shutil.which("buf", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")


def buf(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    assert BUF, "buf is missing: run `make install`"
    return subprocess.run([BUF, *arguments], cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the contracts to break."""
    shutil.copytree(ROOT / "protos", tmp_path / "protos")
    shutil.copy(ROOT / "buf.yaml", tmp_path)
    return tmp_path


def test_contracts_are_lint_clean() -> None:
    assert buf("lint").stdout == ""


def test_undocumented_field_is_reported_by_lint(copy: Path) -> None:
    proto = copy / "protos/deepmath/executor/v1/executor.proto"
    proto.write_text(proto.read_text().replace("  // Python source: at most 256 KiB of UTF-8 without NUL.\n", "", 1))
    assert "non-empty comment" in buf("lint", cwd=copy).stdout


def test_contracts_are_formatted() -> None:
    assert buf("format", "--diff", "--exit-code").stdout == ""


def test_contracts_are_compatible_with_the_released_ones() -> None:
    result = buf("breaking", "--against", str(RELEASED))
    assert (result.returncode, result.stdout) == (0, "")


def test_retyped_field_is_reported_as_breaking(copy: Path) -> None:
    proto = copy / "protos/deepmath/executor/v1/executor.proto"
    proto.write_text(proto.read_text().replace("int64 wall_ms = 1;", "string wall_ms = 1;"))
    assert "wall_ms" in buf("breaking", "--against", str(RELEASED), cwd=copy).stdout


def test_stubs_match_the_contracts_and_their_folders_hold_nothing_else(tmp_path: Path) -> None:
    subprocess.run([sys.executable, ROOT / "tools/generate_stubs.py", tmp_path], check=True, capture_output=True)
    generated = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*.py*")}
    packages = {path.parent.parent for path in generated if path.name.endswith("_pb2.py")}
    checked_in = {
        path.relative_to(ROOT): path.read_bytes()
        for package in packages
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert generated == checked_in, "run `make protos` and commit"
    assert len(packages) == 3
