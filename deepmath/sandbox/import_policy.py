"""Import allow-list of snippets.

It gives a model a clear error message, with the reason and what to do instead; it does not isolate anything. Libraries
import freely, because the hook is in the builtins of the snippet's own code only.
"""

import builtins
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

from deepmath.sandbox.allowed_modules import describe_modules
from deepmath.sandbox.refused_modules import find_refusal

Import = Callable[..., ModuleType]


class ImportPolicy:
    """Replacement for `__import__` in snippets. `refusal` is the last ImportError that it raised, or None."""

    def __init__(self, allowed: Sequence[str]) -> None:
        self._allowed = frozenset(allowed) | {"__future__"}
        self._listing = describe_modules(frozenset(allowed))
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
        # C code called by the snippet imports through this hook too (`date.strftime` imports `time`), but passes a
        # list where the import statement passes a tuple or nothing: PyImport_Import in Python/import.c.
        by_statement = level == 0 and not isinstance(fromlist, list)
        if by_statement and (refusal := self.refuse(name)):
            self.refusal = refusal
            raise refusal
        return self._import(name, globals, locals, fromlist or (), level)

    def refuse(self, name: str) -> ImportError | None:
        """Return the error of `import name`, or None if it is allowed."""
        root = name.partition(".")[0]
        if root in self._allowed:
            return None
        entry = find_refusal(root)
        rest = f": {entry.reason}; {entry.advice}" if entry else f"; allowed modules: {self._listing}"
        return ImportError(f"module {root!r} may not be imported here{rest}", name=root)

    def builtins(self) -> dict[str, Any]:
        """Return a fresh copy of Python's builtins with this policy as `__import__`."""
        return {**_PRISTINE, "__import__": self}


_PRISTINE = dict(vars(builtins))
