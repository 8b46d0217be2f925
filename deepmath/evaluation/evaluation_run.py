"""An evaluation folder open for writing. A killed evaluation resumes where it stopped.

The folder holds `settings.json`, `problems.jsonl`, `samples.jsonl` and `failures.jsonl`. Lines are appended whole; the
last line of a killed process may be torn, and the next process cuts it off. A trajectory that ends in an infrastructure
failure is not a sample: it is recorded in `failures.jsonl` and drawn again.
"""

import fcntl
import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

from deepmath.data.dataset_problem import DatasetProblem
from deepmath.errors import InvalidRequest, WrongOrder
from deepmath.evaluation.evaluation_files import (
    FAILURES_FILE,
    PROBLEMS_FILE,
    SAMPLES_FILE,
    SETTINGS_FILE,
    check_settings,
    read_questions,
    read_samples,
)
from deepmath.evaluation.graded_sample import GradedSample, SampleKey
from deepmath.evaluation.json_lines import append_line, truncate_torn_line


class EvaluationRun:
    """The evaluation in `folder`, open for writing by one process at a time; a context manager.

    `settings` are whatever determines a sample (model, adapter, mode, sampling, limits, benchmarks). A folder with
    other settings is rejected.

    Raises:
        InvalidRequest: the folder is not writable, has other settings, or is corrupt.
        WrongOrder: another process has it open.
    """

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._samples = (folder / SAMPLES_FILE).open("a+b")
            self._failures = (folder / FAILURES_FILE).open("a+b")
        except OSError as error:
            raise InvalidRequest(f"cannot write to {folder}: {error.strerror}") from None
        try:
            fcntl.flock(self._samples, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.close()
            raise WrongOrder(f"another process is writing to {folder}") from None
        try:
            self._resume(settings)
        except InvalidRequest:
            self.close()
            raise

    def _resume(self, settings: dict[str, Any]) -> None:
        path = self.folder / SETTINGS_FILE
        if path.exists():
            check_settings(self.folder, settings)
        else:
            partial = path.with_suffix(".writing")
            partial.write_text(json.dumps(settings, indent=2) + "\n")
            partial.replace(path)
        for file in (self._samples, self._failures):
            truncate_torn_line(file)
        self.verdicts: dict[SampleKey, bool | None] = {}
        """Verdicts of the samples in the folder."""
        self._dialects = set[str]()  # of the samples with tools
        for sample in read_samples(self.folder):
            self.verdicts[sample.key] = sample.correct
            if sample.mode == "agent":
                self._dialects.add(sample.dialect)

    def check_dialect(self, dialect: str) -> None:
        """Ensure that samples with tools are in the generator's `dialect`, as those in the folder are.

        Raises:
            InvalidRequest: they are in another.
        """
        if others := sorted(self._dialects - {dialect or "tool-call"}):  # generators of earlier versions name none
            raise InvalidRequest(
                f"the samples in {self.folder} are in the dialect {', '.join(others)}, but that of the generator is "
                f"{dialect}; start it with the same --dialect, or choose another folder"
            )

    def add_problems(self, benchmark: str, problems: Iterable[DatasetProblem]) -> None:
        """Write the questions that are not in the folder yet, for readers of the samples."""
        known = read_questions(self.folder)
        with (self.folder / PROBLEMS_FILE).open("a+b") as file:
            truncate_torn_line(file)
            for problem in problems:
                if (benchmark, problem.id) not in known:
                    line = {
                        "benchmark": benchmark,
                        "problem_id": problem.id,
                        "family": problem.family,
                        "difficulty": problem.difficulty,
                        "problem": problem.text,
                    }
                    append_line(file, line)

    def add(self, sample: GradedSample) -> None:
        """Write a completed sample.

        Raises:
            ValueError: the folder already has a sample with this key.
        """
        if sample.key in self.verdicts:
            raise ValueError(f"duplicate sample {tuple(sample.key)}")
        append_line(self._samples, asdict(sample))
        self.verdicts[sample.key] = sample.correct

    def add_failure(self, key: SampleKey, reason: str) -> None:
        """Record an infrastructure failure of a sample."""
        append_line(self._failures, key._asdict() | {"reason": reason})

    def close(self) -> None:
        """Release the folder for other processes."""
        self._samples.close()
        self._failures.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
