"""`deepmath token`."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from deepmath.access.tokens import find_client, read_clients


async def test_token_is_printed_once_and_its_hash_is_stored(deepmath, tmp_path):
    tokens = tmp_path / "tokens.toml"
    options = ("--tokens", str(tokens), "--scope", "execute", "--scope", "generate", "--calls-per-second", "2.5")
    ended = await deepmath("token", "alice", *options)
    clients = read_clients(tokens)
    assert find_client(ended.out.strip(), clients) == "alice"
    assert clients["alice"].scopes == {"execute", "generate"}
    assert clients["alice"].calls_per_second == 2.5
    assert ended.out.strip() not in tokens.read_text()
    assert stat.S_IMODE(tokens.stat().st_mode) == 0o600


async def test_other_clients_and_comments_are_kept_when_a_token_is_replaced(deepmath, tmp_path):
    tokens = tmp_path / "tokens.toml"
    options = ("--tokens", str(tokens), "--scope", "train")
    first = (await deepmath("token", "alice", *options)).out.strip()
    tokens.write_text("# kept by hand\n" + tokens.read_text())
    other = (await deepmath("token", "bob", *options)).out.strip()
    refused = await deepmath("token", "alice", *options)
    assert (refused.status, refused.out) == (2, "")
    assert "--force gives it a new token" in refused.err
    second = (await deepmath("token", "alice", *options, "--force")).out.strip()
    clients = read_clients(tokens)
    assert [find_client(token, clients) for token in (first, other, second)] == [None, "bob", "alice"]
    assert "# kept by hand" in tokens.read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a b", "--scope", "train"], "is not a valid client name"),
        (["a", "--scope", "all"], "'all' is not a valid scope"),
        (["a"], "scope"),
    ],
)
async def test_invalid_token_request_is_rejected(deepmath, tmp_path, arguments, message):
    ended = await deepmath("token", *arguments, "--tokens", str(tmp_path / "tokens.toml"))
    assert (ended.status, ended.out) == (2, "")
    assert message in ended.err
    assert not (tmp_path / "tokens.toml").exists()


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_token_file_is_readable_by_its_owner_only(deepmath, tmp_path):
    tokens, out = tmp_path / "tokens.toml", tmp_path / "new" / "alice.token"
    ended = await deepmath("token", "alice", "--scope", "train", "--tokens", str(tokens), "--out", str(out))
    assert (ended.status, ended.out) == (0, "")
    assert find_client(out.read_text().strip(), read_clients(tokens)) == "alice"
    assert _mode(out) == 0o600
    assert out.read_text().strip() not in ended.err


async def test_token_file_is_replaced_by_force_only_and_by_a_valid_token_only(deepmath, tmp_path):
    tokens, out = tmp_path / "tokens.toml", tmp_path / "token"
    command = ("token", "alice", "--scope", "train", "--tokens", str(tokens), "--out", str(out))
    assert (await deepmath(*command)).status == 0
    first = out.read_text()
    other = await deepmath("token", "bob", *command[2:])
    assert (other.status, "exists: --force replaces it" in other.err) == (2, True)
    assert set(read_clients(tokens)) == {"alice"}
    assert (await deepmath("token", "not a name", *command[2:], "--force")).status == 2
    assert (out.read_text(), [path.name for path in tmp_path.glob(".*")]) == (first, [])
    assert (await deepmath(*command, "--force")).status == 0
    assert find_client(out.read_text().strip(), read_clients(tokens)) == "alice"
    assert out.read_text() != first


async def test_token_that_cannot_be_written_creates_no_client(deepmath, tmp_path):
    tokens = tmp_path / "tokens.toml"
    (tmp_path / "file").touch()
    out = tmp_path / "file" / "token"
    ended = await deepmath("token", "alice", "--scope", "train", "--tokens", str(tokens), "--out", str(out))
    assert (ended.status, "cannot write" in ended.err, tokens.exists()) == (2, True, False)


def test_file_that_the_shell_creates_for_the_token_is_closed_to_others(tmp_path):
    program = "from deepmath.cli.main import main; main()"
    command = f"umask 022; {sys.executable} -c '{program}' token alice --scope train --tokens t.toml > out"
    ended = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60)
    assert _mode(tmp_path / "out") == 0o600
    assert find_client((tmp_path / "out").read_text().strip(), read_clients(tmp_path / "t.toml")) == "alice"
    assert "--out FILE" in ended.stderr


@pytest.mark.parametrize("name", ["certs", "token"])
async def test_no_secret_that_a_command_writes_is_readable_by_others(deepmath, tmp_path, name):
    umask = os.umask(0)
    try:
        if name == "certs":
            await deepmath("certs", "init", str(tmp_path))
            await deepmath("certs", "issue", str(tmp_path), "executor")
        else:
            options = ("--scope", "train", "--tokens", str(tmp_path / "tokens.toml"))
            await deepmath("token", "alice", *options, "--out", str(tmp_path / "alice.token"))
    finally:
        os.umask(umask)
    public = {"ca.crt", "tls.crt"}
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.name not in public]
    assert len(files) == 2
    assert {path.name: _mode(path) for path in files} == {path.name: 0o600 for path in files}
