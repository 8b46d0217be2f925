"""Limits on uploads in progress: in total, and for each caller."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from deepmath.errors import Overloaded

_MOST, _MOST_PER_CALLER = 8, 2  # two: a client that reconnects does not wait for its lost upload to end
_RETRY_AFTER_MS = 1000


class UploadSlots:
    """Places for uploads in progress. Each may take as much disk as the largest adapter."""

    def __init__(self) -> None:
        self._uploads: Counter[str] = Counter()

    @contextmanager
    def hold(self, caller: str) -> Iterator[None]:
        """Hold a place for an upload of `caller`, an authenticated name or "".

        Raises:
            Overloaded: No place is free.
        """
        if self._uploads[caller] >= _MOST_PER_CALLER or self._uploads.total() >= _MOST:
            raise Overloaded(
                f"{self._uploads.total()} uploads are in progress, {self._uploads[caller]} of them from this caller; "
                "retry when one has ended",
                _RETRY_AFTER_MS,
            )
        self._uploads[caller] += 1
        try:
            yield
        finally:
            self._uploads[caller] -= 1
