"""`deepmath token`."""

import stat

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
