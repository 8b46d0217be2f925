"""The clients of a tokens file: authentication, scopes and per-client limits of their calls."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from deepmath.access.quota import Quota
from deepmath.access.tokens import Clients, Scope, find_client, watch_clients
from deepmath.errors import Forbidden, Unauthenticated


class AdmittedClient(NamedTuple):
    """An authenticated client and its scopes."""

    name: str
    scopes: frozenset[Scope]


class ClientRegistry:
    """Admits the calls of the clients in the file `tokens`, which is reloaded when it changes.

    Raises:
        InvalidRequest: The file is unusable.
    """

    def __init__(self, tokens: Path) -> None:
        self._clients = watch_clients(tokens)
        self._quotas: dict[str, Quota] = {}

    def authenticate(self, token: str) -> AdmittedClient:
        """Return the client with this token.

        Raises:
            Unauthenticated: There is none.
        """
        clients = self._clients.value
        name = find_client(token, clients)
        if name is None:
            raise Unauthenticated("unknown or revoked token; ask the service's operator for a new one")
        return AdmittedClient(name, clients[name].scopes)

    @contextmanager
    def call(self, client: AdmittedClient, scopes: Collection[Scope], method: str) -> Iterator[None]:
        """Count a call of `method` by `client` for the duration of the block. Any one of `scopes` permits it.

        Raises:
            Forbidden: The client has none of the scopes.
            Overloaded: The call exceeds a limit of the client.
            Unauthenticated: The client was revoked in the meantime.
        """
        if not client.scopes.intersection(scopes):
            raise Forbidden(
                f"{client.name} may not call {method}: its token lacks the scope "
                f"{' or '.join(scopes) or 'for this method'}; ask the service's operator for it"
            )
        clients = self._clients.value
        self._drop_removed_clients(clients)
        if client.name not in clients:
            raise Unauthenticated("revoked token; ask the service's operator for a new one")
        with self._quotas.setdefault(client.name, Quota(client.name)).call(clients[client.name]):
            yield

    def _drop_removed_clients(self, clients: Clients) -> None:
        for name in self._quotas.keys() - clients.keys():
            del self._quotas[name]
