"""Problems of reasoning-gym, with their entries for the scorer."""

import base64
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Generator
from importlib.metadata import PackageNotFoundError, version
from typing import IO, Any

from deepmath.data.dataset_problem import DatasetProblem
from deepmath.data.reasoning_gym.gym_generator import MOST_SECONDS
from deepmath.data.reasoning_gym.gym_source import GymSource
from deepmath.errors import InvalidRequest
from deepmath.grading.gym_entry import GymEntry, GymTask

_PROGRAM = "deepmath.data.reasoning_gym.gym_generator"
_PACKAGE = "reasoning-gym"
_INSTRUCTION = (
    "Give the final answer in \\boxed{}, in exactly the format that the question asks for, as plain text without LaTeX."
)


def gym_version() -> str:
    """Return the installed version of reasoning-gym. Other versions generate other problems.

    Raises:
        InvalidRequest: it is not installed.
    """
    try:
        return version(_PACKAGE)
    except PackageNotFoundError:
        raise InvalidRequest(
            "reasoning-gym is not installed; install the extra `reasoning-gym`, or `pip install reasoning-gym`"
        ) from None


def gym_problems(source: GymSource, count: int, split: str = "train", seed: int = 0) -> list[DatasetProblem]:
    """Return `count` different problems, or as many as there are. A smaller count gives a prefix of a larger one.

    Split and seed determine them with the version of reasoning-gym. The two splits share no question.

    Raises:
        InvalidRequest: reasoning-gym is not installed or has no such task or option, or a generator takes too long or
            too much memory, or has no problem of this split.
    """
    if split not in ("train", "test"):
        raise InvalidRequest(f"the split of reasoning-gym's problems is {split!r:.40}; it must be 'train' or 'test'")
    gym_version()
    parts = [(part.task.name, part.task.options, part.weight) for part in source.parts]
    found = list(_generated({"parts": parts, "split": split, "seed": seed, "count": count}, source.text))
    if not found:
        raise InvalidRequest(f"{source.text} has no {split} problem: its questions all belong to the other split")
    return found


def _generated(request: dict[str, Any], name: str) -> Generator[DatasetProblem]:
    environment = {**os.environ, "PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-P", "-W", "ignore", "-m", _PROGRAM]
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, env=environment
        )
        with process:
            try:
                assert process.stdin
                assert process.stdout
                with process.stdin:
                    process.stdin.write(json.dumps(request).encode())
                for line in process.stdout:
                    yield _problem(json.loads(line))
            except BaseException:
                process.kill()
                raise
        if process.returncode:
            raise InvalidRequest(f"{name} generates no problems: {_failure(process.returncode, errors)}")


def _problem(line: dict[str, str]) -> DatasetProblem:
    if error := line.get("error"):
        raise InvalidRequest(error)
    entry = GymEntry(GymTask(line["name"], line["options"]), base64.b85decode(line["entry"]))
    problem = DatasetProblem.of(f"{line['question']}\n\n{_INSTRUCTION}", "")
    return DatasetProblem(problem.id, problem.text, line["answer"], entry, entry.task.name)


def _failure(status: int, errors: IO[bytes]) -> str:
    if status == -14:  # SIGALRM
        return f"one problem takes more than {MOST_SECONDS} s; choose other options"
    errors.seek(0, os.SEEK_END)
    errors.seek(max(0, errors.tell() - 4000))
    last = errors.read().decode(errors="replace").strip().splitlines()[-1:]
    return " ".join([f"the generator ended with status {status}", *last])[:500]
