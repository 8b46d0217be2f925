"""The import allow-list of snippets.

It gives a clear message and a closed vocabulary; it is not what keeps a snippet in. Libraries import freely, because
the hook is in the builtins of the snippet's own code alone.
"""

import builtins
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

Import = Callable[..., ModuleType]


class ImportPolicy:
    """`__import__` for snippets. `refusal` is the last ImportError that it raised."""

    def __init__(self, allowed: Sequence[str]) -> None:
        self._allowed = frozenset(allowed) | {"__future__"}
        self._listing = ", ".join(sorted(allowed)) or "none"
        self._import: Import = builtins.__import__
        self.refusal: ImportError | None = None

    def __call__(
        self,
        name: str,
        globals: Mapping[str, object] | None = None,
        locals: Mapping[str, object] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        """Import `name` if its top-level module is allowed."""
        # C code that the snippet calls imports by the hook too (`date.strftime` wants `time`), but with a list where
        # the import statement has a tuple or nothing: PyImport_Import in Python/import.c.
        by_statement = level == 0 and not isinstance(fromlist, list)
        if by_statement and (refusal := self.refuse(name)):
            self.refusal = refusal
            raise refusal
        return self._import(name, globals, locals, fromlist or (), level)

    def refuse(self, name: str) -> ImportError | None:
        """Return what `import name` is refused with; None where it is allowed."""
        root = name.partition(".")[0]
        if root in self._allowed:
            return None
        return ImportError(f"module {root!r} may not be imported here; allowed modules: {self._listing}", name=root)

    def builtins(self) -> dict[str, Any]:
        """A fresh copy of Python's builtins with this policy as `__import__`."""
        return {**_PRISTINE, "__import__": self}


_PRISTINE = dict(vars(builtins))
