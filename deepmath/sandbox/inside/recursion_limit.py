"""`sys.setrecursionlimit` of snippets, bounded by what the C stack holds.

CPython 3.11 counts calls between C and Python functions by the same limit as those between Python functions, which need
no C stack; a recursion through `sorted` or a cached function would overflow the stack and kill the process long before
a limit of 10**6. Later versions limit the C stack by themselves.
"""

import resource
import sys

# The most of some sixty kinds of recursion, 3.2 KiB for numpy's loops over objects, with a margin.
_STACK_BYTES_PER_CALL = 4 << 10
# Kept here because a snippet may patch the module they come from.
_set, _get = sys.setrecursionlimit, sys.getrecursionlimit


class RecursionLimit:
    """The recursion limit of a session, which snippets set like Python's own, up to `highest`."""

    def __init__(self) -> None:
        self._default = _get()
        self.highest = _highest()
        self._asked = 0
        sys.setrecursionlimit = self._set_bounded

    def _set_bounded(self, limit: int, /) -> None:
        self._asked = limit
        _set(min(limit, self.highest))

    def restore(self) -> None:
        """Prepare for the next snippet: a raised limit stays, and a lowered one, which the runner may exceed, goes."""
        _set(min(max(self._default, _get()), self.highest))

    def explain(self, error: BaseException) -> None:
        """Add a note to a RecursionError if the snippet asked for a higher limit than it got."""
        if type(error) is RecursionError and self._asked > self.highest:
            error.add_note(f"The recursion limit of a snippet is at most {self.highest}. Write a loop instead.")


def _highest() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_STACK)
    if sys.version_info >= (3, 12) or soft == resource.RLIM_INFINITY:
        return (1 << 31) - 1  # a C int
    return soft // _STACK_BYTES_PER_CALL
