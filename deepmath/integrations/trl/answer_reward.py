"""Reward of the final answer, graded in a sandbox on this machine (the extras `sandbox` and `evaluation`)."""

from collections.abc import Sequence
from typing import Any

from deepmath.grading.answer_extraction import extract_boxed
from deepmath.grading.shared_verifier import shared_verifier
from deepmath.integrations.trl.failed_rollouts import Completion, unless_failed


@unless_failed
def accuracy_reward(completions: Sequence[Completion], answer: Sequence[str], **_: Any) -> list[float | None]:
    r"""Return 1 for each completion whose last `\boxed{}` equals the answer in the dataset's column, 0 otherwise.

    None if there is no verdict: an infrastructure failure, or a gold answer that cannot be read.
    """
    pairs = [(gold, extract_boxed(_last_text(one))) for gold, one in zip(answer, completions, strict=True)]
    verdicts = (verdict.correct for verdict in shared_verifier().verify(pairs))
    return [None if correct is None else float(correct) for correct in verdicts]


def _last_text(completion: Completion) -> str:
    """Return what the model wrote last, without its calls and their outputs."""
    if isinstance(completion, str):
        return completion
    written = [message["content"] for message in completion if message["role"] == "assistant"]
    return next((text for text in reversed(written) if isinstance(text, str) and text), "")
