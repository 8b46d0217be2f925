from pathlib import Path

import pytest
from pydantic import Field
from pydantic_settings import SettingsConfigDict

from deepmath.serving.service_config import ServiceConfig, load


class Config(ServiceConfig):
    model_config = SettingsConfigDict(env_prefix="DEEPMATH_TEST_")

    max_sessions: int = Field(1, gt=0)
    eager: bool = False


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "config.toml"
    path.write_text("max_sessions = 2\n")
    return str(path)


def read(*arguments: str) -> Config:
    return load(Config, "test", list(arguments))


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as refused:
        read(*arguments)
    assert refused.value.code == 2
    return capsys.readouterr().err


def test_default_holds_where_nothing_is_said() -> None:
    assert read().max_sessions == 1


def test_file_wins_over_default(file: str) -> None:
    assert read("--config", file).max_sessions == 2


def test_environment_wins_over_file(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPMATH_TEST_MAX_SESSIONS", "3")
    assert read("--config", file).max_sessions == 3


def test_flag_wins_over_environment(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPMATH_TEST_MAX_SESSIONS", "3")
    assert read("--config", file, "--max-sessions", "4").max_sessions == 4


def test_boolean_flag_needs_no_value() -> None:
    assert read("--eager").eager


def test_every_mistake_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    told = refusal(capsys, "--max-sessions", "-1", "--log-level", "loud")
    assert "max_sessions: " in told
    assert "log_level: " in told


def test_unknown_flag_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--bogus" in refusal(capsys, "--bogus", "1")


def test_unknown_key_in_file_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("bogus = 1\n")
    assert "bogus" in refusal(capsys, "--config", str(path))


def test_missing_file_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "cannot read" in refusal(capsys, "--config", "no/such.toml")


def test_broken_file_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("max_sessions = = 1\n")
    assert "cannot read" in refusal(capsys, "--config", str(path))
