"""Small evaluations in real folders."""

from pathlib import Path
from typing import Any

from deepmath.evaluation.evaluation_run import EvaluationRun
from deepmath.evaluation.graded_sample import GradedSample

SETTINGS = {"model": "tiny-math", "sampling": {"temperature": 1.0}, "benchmarks": ["synthetic"]}
OK = {"code": "6 * 7", "outcome": "OK", "stdout": "", "value": "42"}
FAILED = {"code": "1 / 0", "outcome": "EXCEPTION", "stdout": "", "value": ""}


def sample(problem_id: str = "p1", number: int = 0, answer: str = "42", **changes: Any) -> GradedSample:
    """Return a sample whose gold answer is 42."""
    values: dict[str, Any] = {
        "configuration": "DeepMath",
        "benchmark": "synthetic",
        "problem_id": problem_id,
        "sample": number,
        "mode": "agent",
        "gold": "42",
        "answer": answer,
        "correct": answer == "42",
        "status": "ANSWERED" if answer else "NO_ANSWER",
        "text": f"It is \\boxed{{{answer}}}.",
        "model_tokens": 30,
        "tool_tokens": 10,
        "snippets": [],
        "seconds": 0.5,
    }
    return GradedSample(**values | changes)


def of_answers(*answers: str, problem_id: str = "p1", **changes: Any) -> list[GradedSample]:
    """Return one sample per answer."""
    return [sample(problem_id, number, answer, **changes) for number, answer in enumerate(answers)]


def write(folder: Path, *samples: GradedSample, failures: tuple[GradedSample, ...] = (), **settings: Any) -> Path:
    """Write an evaluation and return its folder."""
    with EvaluationRun(folder, SETTINGS | settings) as run:
        for one in samples:
            run.add(one)
        for one in failures:
            run.add_failure(one.key, "the executor is unavailable")
    return folder
