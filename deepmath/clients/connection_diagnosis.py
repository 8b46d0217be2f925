"""Diagnoses why a server is unreachable (TLS mismatch, rejected certificate)."""

import asyncio
import time
from pathlib import Path

import grpc

from deepmath.clients.tls_diagnosis import diagnose_tls
from deepmath.rpc.grpc_patches.error_texts import is_unexplained_connection_failure

_CACHE_SECONDS = 5.0


class ConnectionDiagnosis:
    """Diagnoses failed connections to `target`, once every few seconds however many calls fail.

    The server's certificate has to be valid for `authority`, by default the target.
    """

    def __init__(self, target: str, folder: Path | None, authority: str = "") -> None:
        self._target, self._folder, self._authority = target, folder, authority
        self._lock = asyncio.Lock()
        self._reason, self._expires = "", 0.0

    async def reason_for(self, error: grpc.aio.AioRpcError) -> str:
        """Return why no connection was established and the remedy; empty if that is not why the call failed."""
        if not is_unexplained_connection_failure(error):
            return ""
        async with self._lock:
            if time.monotonic() > self._expires:
                self._reason = await asyncio.to_thread(diagnose_tls, self._target, self._folder, self._authority)
                self._expires = time.monotonic() + _CACHE_SECONDS
            return self._reason
