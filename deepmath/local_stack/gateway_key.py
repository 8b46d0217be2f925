"""The API key of a detached stack's gateway, in files that only this user can read.

The other services listen on unix sockets in a private folder. HTTP clients need a port, which every user of the machine
can reach.
"""

from pathlib import Path
from typing import NamedTuple

from deepmath.access.owner_file import replace_file
from deepmath.access.token_file_editor import generate_token, write_client
from deepmath.access.tokens import TokenClient, hash_token

_CLIENT = "local"


class GatewayKey(NamedTuple):
    """The file with the key, and the gateway's file of permitted clients."""

    file: Path
    clients: Path

    @classmethod
    def within(cls, folder: Path) -> "GatewayKey":
        """Return the files in a private folder."""
        return cls(folder / "gateway.key", folder / "gateway-clients.toml")

    def create(self) -> None:
        """Write a new key. The previous one is no longer valid."""
        token = generate_token()
        self.clients.unlink(missing_ok=True)
        write_client(
            self.clients, _CLIENT, TokenClient(sha256=hash_token(token), scopes=frozenset({"execute", "generate"}))
        )
        replace_file(self.file, token.encode())

    def remove(self) -> None:
        """Remove both files."""
        self.file.unlink(missing_ok=True)
        self.clients.unlink(missing_ok=True)
