"""Edits of a tokens file: everything that people wrote stays."""

from pathlib import Path

import pytest

from deepmath.access.token_file_editor import generate_token, write_client
from deepmath.access.tokens import TokenClient, hash_token, read_clients
from deepmath.errors import InvalidRequest

_FILE = f"""# Clients of the production executors.
[clients.alice]   # asked for by the maths team
sha256 = "{"a" * 64}"
scopes = [
  "execute",  # she runs snippets
  "generate",
]
max_calls = 4

# The nightly run.
[clients.trainer]
scopes  =  ["train"]
sha256 = '{"b" * 64}'
"""


def client(*scopes: str, **limits: float) -> TokenClient:
    return TokenClient(sha256=hash_token(generate_token()), scopes=scopes, **limits)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tokens.toml"
    path.write_text(_FILE)
    return path


def test_new_client_is_added_below_an_unchanged_text(file) -> None:
    new = client("generate", "execute", calls_per_second=2.5)
    write_client(file, "bob", new)
    assert file.read_text().startswith(_FILE)
    assert read_clients(file)["bob"] == new
    assert len(read_clients(file)) == 3


def test_replaced_client_keeps_its_place_and_comments_and_loses_its_limits(file) -> None:
    new = client("train", burst=3)
    write_client(file, "alice", new, force=True)
    text = file.read_text()
    assert text.startswith("# Clients of the production executors.\n[clients.alice]   # asked for by the maths team\n")
    assert text.endswith(_FILE[_FILE.index("# The nightly run.") :])
    assert read_clients(file)["alice"] == new


def test_existing_client_is_kept_without_force(file) -> None:
    with pytest.raises(InvalidRequest, match="--force gives it a new token"):
        write_client(file, "alice", client("train"))
    assert file.read_text() == _FILE


def test_permissions_of_the_file_are_kept(file) -> None:
    file.chmod(0o640)
    write_client(file, "bob", client("train"))
    assert file.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    "text",
    [
        f"clients = {{alice = {{sha256 = '{'a' * 64}', scopes = ['train']}}}}\n",
        f"clients.alice.sha256 = '{'a' * 64}'\nclients.alice.scopes = ['train']\n",
    ],
    ids=["inline", "dotted"],
)
def test_layout_that_takes_no_new_table_is_left_unchanged(tmp_path, text) -> None:
    path = tmp_path / "tokens.toml"
    path.write_text(text)
    with pytest.raises(InvalidRequest, match="edit it by hand"):
        write_client(path, "bob", client("train"))
    assert path.read_text() == text


def test_comments_alone_are_kept(tmp_path) -> None:
    path = tmp_path / "tokens.toml"
    path.write_text("# nobody yet\n")
    write_client(path, "bob", client("train"))
    assert path.read_text().startswith("# nobody yet\n")
    assert set(read_clients(path)) == {"bob"}
