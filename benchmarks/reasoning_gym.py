"""Ten tasks of reasoning-gym through the services, and their scores compared with a direct call of the library.

`python -m benchmarks.reasoning_gym` runs `deepmath eval` with one benchmark per task and the embedded model (or
`--model`), reads the recorded samples, and scores every answer once more by `dataset.score_answer` in this process,
without a sandbox. For each problem it also grades the answers that the library itself gives to it and to another
problem: a small model writes few correct ones. Trust the model: its answers are evaluated here.

Results: benchmarks/results/reasoning_gym.json. `--folder` reads an evaluation that exists.
"""

import argparse
import json
import os
import pickle
import platform
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

from deepmath.data.dataset_problem import DatasetProblem
from deepmath.data.reasoning_gym.gym_problems import gym_version
from deepmath.data.reasoning_gym.gym_source import PREFIX
from deepmath.evaluation.benchmark_registry import find_benchmark
from deepmath.evaluation.evaluation_files import read_samples
from deepmath.grading.verifier import Verifier

RESULTS = Path(__file__).parent / "results" / "reasoning_gym.json"
TASKS = (
    *("chain_sum", "gcd", "lcm", "simple_equations", "fraction_simplification"),
    *("number_sorting", "spiral_matrix", "countdown", "knights_knaves", "graph_color"),
)
Graded = tuple[DatasetProblem, str, float]  # with the answer and our score


def evaluate(folder: Path, problems: int, model: str | None) -> None:
    benchmarks = [option for task in TASKS for option in ("--benchmark", PREFIX + task)]
    command = [str(Path(sys.executable).with_name("deepmath")), "eval", *benchmarks, "--output", str(folder)]
    chosen = ["--model", model] if model else []
    subprocess.run([*command, *chosen, "--limit", str(problems), "--samples", "1", "--max-tokens", "200"], check=True)


def direct_score(problem: DatasetProblem, answer: str) -> float:
    """Return the library's score. It raises no exception for an answer that a model wrote down."""
    from reasoning_gym.factory import create_dataset

    assert problem.entry
    task = create_dataset(problem.entry.task.name, seed=0, size=10, **json.loads(problem.entry.task.options))
    score: float = task.score_answer(answer, pickle.loads(problem.entry.pickled))
    return min(max(float(score), 0.0), 1.0)


def row(task: str, problems: list[DatasetProblem], recorded: list[Graded]) -> dict[str, Any]:
    """Return a line of the table. An empty answer is not compared: the library gives some of them points."""
    references = [one.answer for one in problems]
    known = [
        (problem, answer)
        for at, problem in enumerate(problems)
        for answer in (references[at], references[at - 1])
        if answer
    ]
    with Verifier(2, 20.0, tasks={one.entry.task for one in problems if one.entry}) as verifier:
        verdicts = verifier.verify([(problem.reference, answer) for problem, answer in known])
    graded = [(*pair, verdict.score or 0.0) for pair, verdict in zip(known, verdicts, strict=True)]
    answered = [one for one in recorded if one[1].strip()]
    compared = answered + graded
    equal = sum(abs(direct_score(problem, answer) - score) < 1e-9 for problem, answer, score in compared)
    return {
        "task": task,
        "problems": len(recorded),
        "answers_of_the_model": len(answered),
        "mean_score": round(sum(score for *_, score in recorded) / max(len(recorded), 1), 3),
        "full_scores": sum(score == 1 for *_, score in recorded),
        "compared": len(compared),
        "equal": equal,
    }


def main(folder: Path, problems: int) -> dict[str, Any]:
    samples: dict[str, list[Any]] = {}
    for sample in read_samples(folder):
        samples.setdefault(sample.benchmark, []).append(sample)
    rows = []
    for task in TASKS:
        own = {one.id: one for one in find_benchmark(PREFIX + task).problems(problems)}
        recorded = [(own[one.problem_id], one.answer, one.score) for one in samples[PREFIX + task]]
        rows.append(row(task, list(own.values()), recorded))
    machine = f"{len(os.sched_getaffinity(0))} cores, {platform.machine()}, Python {platform.python_version()}"
    return {"tasks": rows, "reasoning_gym": gym_version(), "machine": machine}


def table(rows: list[dict[str, Any]]) -> str:
    """Return the lines of the table in docs/reasoning-gym.md."""
    names = list(rows[0])
    lines = [names, ["---", *["--:"] * (len(names) - 1)], *[[str(one[name]) for name in names] for one in rows]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--problems", type=int, default=20, help="problems per task")
    parser.add_argument("--model", help="model for `deepmath eval`; default the embedded one")
    parser.add_argument("--folder", type=Path, help="evaluation to read instead of running one")
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")  # the library's
    with tempfile.TemporaryDirectory() as temporary:
        where = chosen.folder or Path(temporary) / "evaluation"
        if not chosen.folder:
            evaluate(where, chosen.problems, chosen.model)
        results = main(where, chosen.problems)
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    print(table(results["tasks"]))
