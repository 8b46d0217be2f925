"""`deepmath contamination`: training problems that repeat each other or a test problem."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Annotated, Any

import typer

from deepmath.cli.lazy_group import command_app
from deepmath.cli.shared_options import PATH
from deepmath.data.contamination_index import ContaminationIndex, SeenQuestions
from deepmath.data.dataset_problem import DatasetProblem
from deepmath.data.reasoning_gym.gym_source import is_gym_source
from deepmath.errors import InvalidRequest
from deepmath.evaluation.benchmark import SYNTHETIC
from deepmath.evaluation.benchmark_registry import find_benchmark
from deepmath.printable_text import json_line, printable_line

app = command_app()

_SHOWN = 100  # characters of a question


@app.command()
def contamination(
    train: Annotated[str, typer.Argument(help="Training problems: as --benchmark of `deepmath eval`.")],
    against: Annotated[
        list[str] | None,
        typer.Option(help="Test problems, likewise. Repeatable. Default: none.", metavar="TEST", show_default=False),
    ] = None,
    split: Annotated[str, typer.Option(help="Split of TRAIN if it is a dataset without a name of its own.")] = "train",
    output: Annotated[
        Path | None, typer.Option(help="New file for the other problems, as JSON lines.", show_default=False, **PATH)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per repeated problem.")] = False,
) -> None:
    """Find training problems that repeat each other or a test problem.

    Two questions are the same if they differ in case, spaces, punctuation and LaTeX's spelling only. A training problem
    also repeats a test problem if it has at least half of its 8-grams and all its numbers. `deepmath train` excludes
    both kinds.
    """
    tests = [(name, problem) for name in against or [] for problem in find_benchmark(name).problems()]
    index = ContaminationIndex(problem.text for _, problem in tests)
    counts = {"problems": 0, "duplicate": 0, "contaminated": 0}
    seen: SeenQuestions = SeenQuestions()
    file = _create(output) if output else None
    try:
        for number, problem in enumerate(_stream(train, split), start=1):
            counts["problems"] += 1
            if (first := seen.add(problem.text)) is not None:
                counts["duplicate"] += 1
                _show({"kind": "duplicate", **_place(number, problem), "of": first + 1}, as_json)
            elif match := index.match(problem.text):
                counts["contaminated"] += 1
                name, test = tests[match.number]
                found = {"test": name, "test_id": test.id, "test_question": test.text, "overlap": match.overlap}
                _show({"kind": "contaminated", **_place(number, problem), **found}, as_json)
            elif file:
                file.write(json.dumps(problem.to_row()) + "\n")
    finally:
        if file:
            file.close()
    if not as_json:
        print(
            f"{counts['problems']} problems: {counts['duplicate']} repeat an earlier one, "
            f"{counts['contaminated']} repeat one of {len(tests)} test problems"
        )


def _stream(train: str, split: str) -> Iterator[DatasetProblem]:
    """Yield the problems of `train` one at a time, where a dataset has them in rows."""
    benchmark = find_benchmark(train, split)
    if benchmark.splits == (SYNTHETIC,) or is_gym_source(train):
        yield from benchmark.problems()
    else:
        yield from benchmark.rows()


def _create(path: Path) -> IO[str]:
    try:
        return path.open("x", encoding="utf-8")
    except FileExistsError:
        raise InvalidRequest(f"{path} exists; choose another --output") from None


def _place(number: int, problem: DatasetProblem) -> dict[str, Any]:
    return {"number": number, "id": problem.id, "question": problem.text}


def _show(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json_line(found))
        return
    print(f"problem {found['number']} ({printable_line(found['id'])}): {printable_line(found['question'], _SHOWN)}")
    if found["kind"] == "duplicate":
        print(f"  repeats problem {found['of']}")
    else:
        test = printable_line(f"{found['test_id']} of {found['test']}: {found['test_question']}", _SHOWN)
        print(f"  repeats {found['overlap']:.0%} of {test}")
