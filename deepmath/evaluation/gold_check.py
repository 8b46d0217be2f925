"""Check of a benchmark's gold answers before samples are drawn: without a readable one there is no verdict."""

from collections.abc import Mapping, Sequence

from deepmath.data.dataset_problem import DatasetProblem
from deepmath.errors import InvalidRequest
from deepmath.grading.verifier import Verifier

_MOST_NAMED = 10


def check_gold_answers(problems: Mapping[str, Sequence[DatasetProblem]], verifier: Verifier) -> list[str]:
    """Return a warning for each benchmark of which some gold answers cannot be read.

    Raises:
        InvalidRequest: none of a benchmark's gold answers can be read.
        Unavailable: answers cannot be compared, see `Verifier`.
    """
    warnings = []
    for benchmark, own in problems.items():
        verdicts = verifier.check_golds([problem.reference for problem in own])
        bad = [problem for problem, verdict in zip(own, verdicts, strict=True) if verdict.correct is None]
        if not bad:
            continue
        named = ", ".join(f"{problem.id} ({problem.answer!r:.60})" for problem in bad[:_MOST_NAMED])
        more = ", ..." if len(bad) > _MOST_NAMED else ""
        message = f"{len(bad)} of {len(own)} gold answers of {benchmark} cannot be compared with: {named}{more}"
        if len(bad) == len(own):
            raise InvalidRequest(f"{message}; give a dataset whose column of answers holds mathematics")
        warnings.append(f"{message}; their samples get no verdict")
    return warnings
