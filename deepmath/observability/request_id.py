"""The id of the request that this task works on, which its log lines share with those of the services it calls."""

import re
from collections.abc import Iterable
from contextvars import ContextVar
from uuid import uuid4

KEY = "x-request-id"
"""Key of the metadata that it travels under, both ways."""

_FORM = re.compile(r"[A-Za-z0-9_.-]{1,64}")

current: ContextVar[str] = ContextVar("request_id", default="")
"""Empty outside of a request."""


def begin(metadata: Iterable[tuple[str, str | bytes]]) -> str:
    """Set and return the id of a call that came with `metadata`: the caller's if it is well-formed, else a new one."""
    told = dict(metadata).get(KEY, "")
    name = told if isinstance(told, str) and _FORM.fullmatch(told) else uuid4().hex
    current.set(name)
    return name
