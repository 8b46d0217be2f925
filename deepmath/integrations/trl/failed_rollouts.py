"""Rollouts that an infrastructure failure ended: no reward, so that TRL leaves them out of the loss.

An exception of a tool does not end a rollout in TRL: the model reads its text and goes on. An environment remembers the
failure. A function of `tools` has no memory of the rollout; there the text of the exception has a random mark, so that
nothing that a model writes or prints can pass for a failure, unless it has seen one in the same completion.
"""

import functools
import re
import secrets
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from deepmath.errors import Unavailable

Completion = str | Sequence[dict[str, Any]]
"""A text, or the messages of a chat."""
RewardFunction = Callable[..., list[float | None]]

_MARK = re.compile(r"\(failure ([0-9a-f]{32})\)")
_marks: set[str] = set()


class SandboxUnavailable(Unavailable):
    """No executor ran the code: an infrastructure failure, which says nothing about the code.

    The model reads the message, so it has a mark and no details.
    """

    def __init__(self) -> None:
        mark = secrets.token_hex(16)
        _marks.add(mark)
        super().__init__(f"the sandbox is not available (failure {mark})")


def failed(completions: Sequence[Completion], environments: Iterable[Any] | None = None) -> list[bool]:
    """Return for each rollout whether an infrastructure failure occurred in it.

    `environments` are those of the rollouts, where the trainer has any.
    """
    of_environments = [bool(getattr(environment, "failed", False)) for environment in environments or ()]
    of_texts = map(_has_mark, completions)
    return [*map(any, zip(of_texts, of_environments or [False] * len(completions), strict=True))]


def unless_failed(reward: RewardFunction) -> RewardFunction:
    """Return a reward function that gives None for failed rollouts, and what `reward` gives for the others.

    All reward functions of a trainer have to do so: TRL leaves a completion out only if none has a reward for it.
    """

    @functools.wraps(reward)
    def rewards(completions: Sequence[Completion], **columns: Any) -> list[float | None]:
        lost = failed(completions, columns.get("environments"))
        values = reward(completions=completions, **columns)
        return [None if is_lost else value for is_lost, value in zip(lost, values, strict=True)]

    return rewards


def _has_mark(completion: Completion) -> bool:
    messages = [] if isinstance(completion, str) else completion
    texts = (message.get("content") for message in messages if message.get("role") == "tool")
    return any(mark in _marks for text in texts if isinstance(text, str) for mark in _MARK.findall(text))
