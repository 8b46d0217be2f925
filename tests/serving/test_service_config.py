"""Layers of a service's configuration, and the explanation of mistakes."""

from pathlib import Path

import pytest
from pydantic import Field
from pydantic_settings import SettingsConfigDict

from deepmath.serving.grpc_config import GrpcServiceConfig
from deepmath.serving.service_config import ServiceConfig, load


class Config(ServiceConfig):
    """A service under test."""

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


def rejection(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as rejected:
        read(*arguments)
    assert rejected.value.code == 2
    return capsys.readouterr().err


def test_default_applies_without_other_layers() -> None:
    assert read().max_sessions == 1


def test_file_overrides_default(file: str) -> None:
    assert read("--config", file).max_sessions == 2
    assert read(f"--config={file}").max_sessions == 2


def test_environment_overrides_file(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPMATH_TEST_MAX_SESSIONS", "3")
    assert read("--config", file).max_sessions == 3


def test_flag_overrides_environment(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPMATH_TEST_MAX_SESSIONS", "3")
    assert read("--config", file, "--max-sessions", "4").max_sessions == 4


def test_boolean_flag_needs_no_value() -> None:
    assert read("--eager").eager


def test_help_lists_the_configuration_file(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        read("--help")
    assert "--config FILE" in capsys.readouterr().out


def test_every_mistake_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    lines = rejection(capsys, "--max-sessions", "-1", "--log-level", "loud").splitlines()
    assert any("max_sessions is '-1': " in line for line in lines)
    assert any("log_level is 'loud': " in line for line in lines)
    assert len(lines) == 2


@pytest.mark.parametrize(
    ("option", "hint"),
    [
        (("--max-sesions", "1"), "unknown option `--max-sesions`; did you mean `--max-sessions`?"),
        (("--eagr",), "unknown option `--eagr`; did you mean `--eager`?"),
        (("--listn=unix:x",), "unknown option `--listn`; did you mean `--listen`?"),
        (("--zzzzzz", "1"), "unknown option `--zzzzzz`\n"),
        (("surplus",), "unexpected argument `surplus`"),
    ],
)
def test_unknown_flag_is_rejected_with_the_nearest_one(capsys, option, hint) -> None:
    assert hint in rejection(capsys, *option)


def test_unknown_key_in_file_is_rejected_with_the_nearest_one(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "config.toml"
    path.write_text("max_sesions = 1\n")
    assert "unknown setting `max_sesions`; did you mean `max_sessions`?" in rejection(capsys, "--config", str(path))


def test_missing_file_is_rejected(capsys: pytest.CaptureFixture[str]) -> None:
    assert "cannot read" in rejection(capsys, "--config", "no/such.toml")


def test_broken_file_is_rejected(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("max_sessions = = 1\n")
    assert "is not valid TOML" in rejection(capsys, "--config", str(path))


@pytest.mark.parametrize("address", ["unix-abstract:x", "unix-abstract:%00x", "unix:@x"])
def test_abstract_socket_is_refused(capsys: pytest.CaptureFixture[str], address: str) -> None:
    assert "no permissions protect an abstract socket" in rejection(capsys, "--listen", address)


@pytest.mark.parametrize(
    "address", ["vsock:3:7301", "xds:x", "ipv4:127.0.0.1:1", "dns:///localhost:1", "7301", "unix:"]
)
def test_address_of_another_kind_is_refused(capsys: pytest.CaptureFixture[str], address: str) -> None:
    assert "give HOST:PORT or unix:PATH" in rejection(capsys, "--listen", address)


@pytest.mark.parametrize("content", [b"\xef\xbb\xbf%s", b"\xff\xfe%s"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_file_may_have_a_byte_order_mark_and_any_newline(tmp_path: Path, content: bytes, newline: str) -> None:
    text = f'listen = "127.0.0.1:0"{newline}max_streams = 7{newline}'
    file = tmp_path / "config.toml"
    file.write_bytes(content % text.encode("utf-16-le" if content.startswith(b"\xff") else "utf-8"))
    assert load(GrpcServiceConfig, "test", ["--config", str(file)]).max_streams == 7


def test_home_directory_is_expanded_in_a_file_a_variable_and_a_flag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("a-token")
    (tmp_path / "config.toml").write_text('token_file = "~/token"')
    monkeypatch.setenv("HOME", str(tmp_path))
    flag = load(ServiceConfig, "test", ["--token-file", "~/token"])
    file = load(ServiceConfig, "test", ["--config", "~/config.toml"])
    monkeypatch.setenv("TOKEN_FILE", "~/token")
    assert {flag.token_file, file.token_file, load(ServiceConfig, "test", []).token_file} == {tmp_path / "token"}


def test_unknown_user_in_a_path_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        load(ServiceConfig, "test", ["--tls", "~no-such-user/tls"])
    assert "there is no home directory for ~no-such-user" in capsys.readouterr().err
