"""The current addresses of a host name.

Theory of operation. gRPC's C core resolves a name when a connection is lost, and so finds new servers only when old
ones go. The watcher resolves it every few seconds in a thread of its own, since resolution by the system blocks. If
resolution fails, it keeps the last addresses: a DNS server that is away must not take a fleet away.
"""

import logging
import threading
import time
from collections.abc import Callable

from deepmath.rpc.host_resolution import HostTarget, resolve

log = logging.getLogger(__name__)

RESOLVE_SECONDS = 10.0
"""Default time between resolutions. DNS servers cache for 30 s or less; together that is well below a minute."""
_RETRY_SECONDS = 2.0  # after a failure
_MIN_SECONDS = 1.0  # between resolutions that calls ask for

Resolve = Callable[[HostTarget], tuple[str, ...]]


class AddressWatcher:
    """The addresses of `target`, resolved again every `interval_s` seconds until it is closed.

    `resolve` returns the addresses as IP:PORT or raises OSError.
    """

    def __init__(self, target: HostTarget, interval_s: float = RESOLVE_SECONDS, resolve: Resolve = resolve) -> None:
        self._target, self._interval_s, self._resolve = target, interval_s, resolve
        self._addresses: tuple[str, ...] = ()
        self._failing = self._closed = False
        self._wake = threading.Event()
        threading.Thread(target=self._run, name=f"addresses of {target.host}", daemon=True).start()

    @property
    def addresses(self) -> tuple[str, ...]:
        """The latest addresses until `close`, at first empty. The same object until they change."""
        return self._addresses

    def refresh(self) -> None:
        """Resolve the name soon, because an address does not respond."""
        self._wake.set()

    def close(self) -> None:
        """Stop resolving."""
        self._closed = True
        self._wake.set()

    def _run(self) -> None:
        while not self._closed:
            started = time.monotonic()
            self._update()
            self._wake.wait(min(self._interval_s, _RETRY_SECONDS) if self._failing else self._interval_s)
            pause = started + min(self._interval_s, _MIN_SECONDS) - time.monotonic()
            if pause > 0 and not self._closed:
                time.sleep(pause)
            self._wake.clear()

    def _update(self) -> None:
        try:
            found = self._resolve(self._target)
        except Exception as error:  # whatever it is, the next resolution may succeed
            self._report_failure(error)
            return
        self._failing = False
        if found != self._addresses and not self._closed:
            new, gone = set(found) - set(self._addresses), set(self._addresses) - set(found)
            log.info("%s has %d addresses: %d new, %d gone", self._target.host, len(found), len(new), len(gone))
            self._addresses = found

    def _report_failure(self, error: Exception) -> None:
        if self._addresses and not self._failing:
            kept = len(self._addresses)
            log.warning("cannot resolve %s: %s; keeping its last %d addresses", self._target.host, error, kept)
        self._failing = True
