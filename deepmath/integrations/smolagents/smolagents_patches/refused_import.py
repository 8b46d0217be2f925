"""The message text by which CodeAgent recognizes a refused import."""

from collections.abc import Sequence


def refused_import_message(module: str, authorized: Sequence[str]) -> str:
    """Return the message of smolagents' local interpreter for an import that is not authorized.

    `CodeAgent._step_stream` searches an error's text for "Import of " and " is not allowed", and then points the user
    to `additional_authorized_imports` (`agents.py`). There is no exception type for it, and no upstream issue is known.
    """
    return f"Import of {module} is not allowed. Authorized imports are: {list(authorized)}"
