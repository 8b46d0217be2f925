"""The id of the current request, shared by the log lines of all services that work on it."""

import re
from collections.abc import Iterable
from contextvars import ContextVar
from uuid import uuid4

KEY = "x-request-id"
"""Metadata key, in requests and in trailing metadata."""

_VALID = re.compile(r"[A-Za-z0-9_.-]{1,64}")

current: ContextVar[str] = ContextVar("request_id", default="")
"""The id in the current context; empty outside a request."""


def adopt(metadata: Iterable[tuple[str, str | bytes]]) -> str:
    """Set and return the id of a call with `metadata`: the caller's if it is well formed, otherwise a new one."""
    given = dict(metadata).get(KEY, "")
    accepted = given if isinstance(given, str) and _VALID.fullmatch(given) else uuid4().hex
    current.set(accepted)
    return accepted
