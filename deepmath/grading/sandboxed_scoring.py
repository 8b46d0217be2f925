"""The program in the sandbox of a scorer: scores one answer to a problem of reasoning-gym.

`gym_scorer` loads this module, the library and the tasks of an evaluation or run once, before the sandboxes are forked.
Each sandbox runs `reply` once and dies. Its input is hostile, its code is ours and the library's.
"""

import json
import math
import pickle
import random
import re
import sys
from collections.abc import Sequence
from itertools import product
from typing import Any

from deepmath.grading.boxed_text import plain_text
from deepmath.grading.code_refusal import formula_names, refuse_code

NO_SCORE = "no score"
"""Returned by `reply` if the scorer raises an exception for the answer."""
_INT_DIGITS = 4300  # Python's own limit, which the sandbox lifts for snippets
_FULL = 1.0
# A distance to nan is nan, and min(1.0, nan) is a full score: in complex_arithmetic for every problem.
_NOT_A_NUMBER = re.compile(r"(?<![a-z])nanj?(?![a-z])", re.IGNORECASE)
_REHEARSED = 2  # entries per task

_tasks: dict[tuple[str, str], Any] = {}
_allowed: frozenset[str] = frozenset()


def prepare(tasks: Sequence[Sequence[str]]) -> None:
    """Make the scorers of `tasks`, pairs of a name and options in JSON, and fill the library's caches."""
    global _allowed  # noqa: PLW0603 - the state of a process that is forked
    from reasoning_gym.factory import create_dataset

    _allowed = formula_names()
    for name, options in tasks:
        dataset = create_dataset(name, **{"seed": 0, "size": 10, **json.loads(options)})
        entries = [dataset[index] for index in range(_REHEARSED)]
        for entry, other in product(entries, repeat=2):  # correct answers and others
            dataset.score_answer(other["answer"] or "", entry)
        _tasks[name, options] = dataset


def reply(name: str, options: str, pickled: bytes, answer: str | None) -> float | str:
    r"""Return the score of `answer`, from 0 to 1, or `NO_SCORE`. Without an answer the entry's own is scored.

    Both readings of the content of a box are scored, as it is written and without LaTeX; the higher score counts. A nan
    has no full score, unless the entry's own answer has one.
    """
    entry = pickle.loads(pickled)  # noqa: S301 - our own process made it, and this one is locked down
    task = _tasks[name, options]
    readings = [answer, plain_text(answer)] if answer is not None else [entry["answer"] or ""]
    random.seed(0)
    sys.set_int_max_str_digits(_INT_DIGITS)
    refuse_code(_allowed)
    scores = [score for one in dict.fromkeys(readings) if (score := _score(task, one, entry)) is not None]
    return max(scores) if scores else NO_SCORE


def _score(task: Any, answer: str, entry: dict[str, Any]) -> float | None:
    try:
        score = float(task.score_answer(answer, entry))
    except MemoryError:
        raise
    except Exception:
        return None
    if score >= _FULL and _NOT_A_NUMBER.search(answer) and not _NOT_A_NUMBER.search(entry["answer"] or ""):
        return 0.0
    return None if math.isnan(score) else min(max(score, 0.0), _FULL)
