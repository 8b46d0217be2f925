"""Dialects by name: those of this package, and those that other packages offer by an entry point."""

from collections.abc import Mapping
from difflib import get_close_matches
from importlib.metadata import entry_points

from deepmath.dialects.dialect import Dialect
from deepmath.dialects.hermes_dialect import HermesDialect
from deepmath.dialects.python_fence_dialect import PythonFenceDialect
from deepmath.dialects.python_tag_dialect import PythonTagDialect
from deepmath.dialects.tool_call_dialect import ToolCallDialect
from deepmath.errors import InvalidRequest

ENTRY_POINTS = "deepmath.dialects"
"""Group of entry points. Each names a subclass of `Dialect` that is made without arguments."""

DIALECTS: Mapping[str, Dialect] = {
    dialect.name: dialect for dialect in (ToolCallDialect(), PythonFenceDialect(), HermesDialect(), PythonTagDialect())
}
"""The dialects of this package."""

_ATTRIBUTES = ("name", "marks", "start", "end", "instructions")
_MOST_SHOWN = 100  # characters of an unknown name


def known_dialect(name: str) -> Dialect:
    """Return the dialect `name` for reading; `tool-call` if this installation does not have it."""
    try:
        return find_dialect(name)
    except InvalidRequest:
        return DIALECTS["tool-call"]


def find_dialect(name: str) -> Dialect:
    """Return the dialect `name`.

    Raises:
        InvalidRequest: there is none of that name, or the package that offers it fails.
    """
    if dialect := DIALECTS.get(name):
        return dialect
    offered = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    if point := offered.get(name):
        try:
            made = point.load()()
        except Exception as error:  # another package's code
            raise InvalidRequest(f"cannot load the dialect {name} from {point.value}: {error}") from error
        if not isinstance(made, Dialect):
            raise InvalidRequest(f"the dialect {name}, {point.value}, is not a subclass of deepmath.dialects.Dialect")
        if missing := [attribute for attribute in _ATTRIBUTES if not hasattr(made, attribute)]:
            raise InvalidRequest(f"the dialect {name}, {point.value}, has no `{'`, `'.join(missing)}`")
        if made.name != name:  # transcripts name their dialect
            raise InvalidRequest(f"the dialect {name}, {point.value}, has the name {made.name!r}; set it to {name!r}")
        return made
    known = [*DIALECTS, *offered]
    close = get_close_matches(name[:_MOST_SHOWN], known, 1)
    hint = f"; did you mean {close[0]}?" if close else f"; there are {', '.join(known)}"
    raise InvalidRequest(f"there is no dialect {name[:_MOST_SHOWN]!r}{hint}")
