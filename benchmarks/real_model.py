"""The experiment of the DeepMath paper on a real model: evaluation, GRPO with LoRA, evaluation.

`python -m benchmarks.real_model MODEL` evaluates the model on GSM8K and MATH-500 with and without Python, trains it on
GSM8K, kills the trainer once on the way, resumes, and evaluates again. Each step is a `deepmath` command, printed
before it is run. The same command resumes the experiment after an interruption. The results go to
docs/results/real-model.
"""

import argparse
import json
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.real_model_report import write_results
from benchmarks.real_model_services import Deepmath, Served

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "docs" / "results" / "real-model"
RUN = "grpo"
MATH_EVERY = 10
"""MATH-500's problems 0, 10, 20, ... are its subset: the file is in the order of a random split."""
MODES = ("plain", "agent")


@dataclass(frozen=True)
class Scale:
    """Sizes of the experiment."""

    gsm8k: int
    """Problems of GSM8K's test split."""
    math500: int
    """Problems of MATH-500."""
    samples: int
    """Samples per problem."""
    max_tokens: int
    """Tokens of a trajectory in the evaluation."""
    train: int
    """Problems of GSM8K's train split to draw from."""
    kill_at: int
    """Optimizer step at which the trainer is killed."""
    generator: tuple[str, ...]
    """Options of the generator."""


SCALES = {
    "cpu": Scale(120, 50, 1, 400, 2000, 10, ("--dtype=bfloat16", "--context-length=4096", "--cpu-threads=2")),
    "gpu": Scale(1319, 500, 4, 2048, 7473, 110, ("--dtype=bfloat16", "--context-length=8192", "--gpu-memory=0.4")),
}


def gsm8k_rows(file: Path) -> Iterator[dict[str, str]]:
    """Return questions and answers: GSM8K's answer follows `####`."""
    for line in file.read_text().splitlines():
        row = json.loads(line)
        yield {"problem": row["question"], "answer": row["answer"].rpartition("####")[2].strip().replace(",", "")}


def math_rows(file: Path) -> Iterator[dict[str, str]]:
    """Return a subset of MATH-500, spread over the file."""
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    for first in range(MATH_EVERY):
        yield from ({"problem": row["problem"], "answer": row["answer"]} for row in rows[first::MATH_EVERY])


class Experiment:
    """The stages of the experiment, in a folder. Each is skipped if it has been done."""

    def __init__(self, model: str, data: Path, folder: Path, scale: str, dialect: str | None) -> None:
        self.model, self.data, self.folder, self.scale = model, data, folder, SCALES[scale]
        self.recipe = Path(__file__).with_name(f"real_model_{scale}.yaml")
        self.dialect = dialect
        folder.mkdir(parents=True, exist_ok=True)
        self.deepmath = Deepmath(folder)
        self.run_folder = folder / "runs" / RUN
        settings = {"model": Path(model).name, "scale": scale, "dialect": dialect}
        (folder / "experiment.json").write_text(json.dumps(settings))

    def run(self) -> None:
        """Run all stages that have not been done."""
        self.write_problems()
        with self.deepmath.serve("executor") as executor:
            with self.generator(executor) as generator:
                self.evaluate(generator, ("Baseline", "+Agent"))
                self.train(generator)
            with self.generator(executor, f"--adapter={self.run_folder / 'adapter'}") as generator:
                self.evaluate(generator, ("+GRPO", "DeepMath"))

    def write_problems(self) -> None:
        """Write the problem sets with the columns `problem` and `answer`."""
        scale = self.scale
        self._write("gsm8k", list(gsm8k_rows(self.data / "gsm8k_test.jsonl"))[: scale.gsm8k])
        self._write("math500", list(math_rows(self.data / "math500.jsonl"))[: scale.math500])
        self._write("gsm8k_train", list(gsm8k_rows(self.data / "gsm8k_train.jsonl"))[: scale.train])

    def _write(self, name: str, rows: Sequence[dict[str, str]]) -> None:
        (self.folder / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))

    @contextmanager
    def generator(self, executor: Served, *options: str) -> Iterator[Served]:
        """Serve the model for the block."""
        dialect = [f"--dialect={self.dialect}"] if self.dialect else []
        options = (*self.scale.generator, "--prompt=word-problems", *dialect, *options)
        with self.deepmath.serve(
            "generator", f"--executor={executor.address}", f"--model={self.model}", *options
        ) as served:
            yield served

    def evaluate(self, generator: Served, names: Sequence[str]) -> None:
        """Evaluate what the generator serves in both modes, as `names`, on both problem sets."""
        for mode, name in zip(MODES, names, strict=True):
            output = self.folder / "evaluation" / name
            if self.deepmath.is_done(f"evaluation {name}"):
                continue
            benchmarks = [f"--benchmark={self.folder / f'{problems}.jsonl'}" for problems in ("gsm8k", "math500")]
            self.deepmath.run(
                *("eval", f"--generator={generator.address}", f"--mode={mode}", f"--name={name}", *benchmarks),
                *(f"--samples={self.scale.samples}", f"--max-tokens={self.scale.max_tokens}", f"--output={output}"),
            )
            self.deepmath.record(f"evaluation {name}")

    def train(self, generator: Served) -> None:
        """Train; kill the trainer with its workers at a step, once, and resume."""
        while not self.deepmath.is_done("training"):
            with self.deepmath.serve("trainer", f"--runs={self.run_folder.parent}") as trainer:
                command = self.deepmath.start("train", f"--trainer={trainer.address}", *self._run_options(generator))
                killed = self._kill_once(trainer, command)
                status = command.wait()
            if status == 0:
                self.deepmath.record("training")
            elif not killed:
                raise subprocess.CalledProcessError(status, ["deepmath", "train"])

    def _kill_once(self, trainer: Served, command: subprocess.Popen[bytes]) -> bool:
        """Kill the trainer at a step of the run unless that has happened before; return whether it was killed."""
        while command.poll() is None and not self.deepmath.is_done("kill -9"):
            if self._last_step() >= self.scale.kill_at:
                trainer.kill()
                self.deepmath.record("kill -9", step=self._last_step())
                return True
            time.sleep(1)
        return False

    def _run_options(self, generator: Served) -> list[str]:
        if (self.run_folder / "config.yaml").exists():
            self.deepmath.record("resume", step=self._last_step())
            return ["--resume", f"--name={RUN}", f"generators=['{generator.address}']"]
        data = self.folder / "gsm8k_train.jsonl"
        settings = (f"model={self.model}", f"data.dataset={data}", f"generators=['{generator.address}']")
        return [f"--config={self.recipe}", f"--name={RUN}", *settings]

    def _last_step(self) -> int:
        file = self.run_folder / "metrics.jsonl"
        lines = file.read_text().splitlines() if file.exists() else []
        return max((int(line["step"]) for line in map(_json, lines) if line), default=0)


def _json(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:  # half written
        return None


def main() -> int:
    """Run the experiment; return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.real_model", description=__doc__.split("\n", 1)[0])
    parser.add_argument("model", help="Directory or hub name of the model.")
    parser.add_argument("--scale", choices=SCALES, default="cpu", help="Sizes of the experiment.")
    parser.add_argument(
        "--data", type=Path, default=ROOT.parent / "shared" / "data", help="Folder of the problem sets."
    )
    parser.add_argument("--output", type=Path, default=Path("runs/real-model"), help="Folder of the experiment.")
    parser.add_argument("--dialect", help="Dialect of the model (default: the model's own).")
    parser.add_argument("--results", type=Path, default=RESULTS, help="Folder of the results.")
    parser.add_argument("--report", action="store_true", help="Only write the results of what has been run.")
    arguments = parser.parse_args()
    folder = arguments.output.resolve()
    if not arguments.report:
        print(f"python -m benchmarks.real_model {shlex.join(sys.argv[1:])}", flush=True)
        try:
            Experiment(arguments.model, arguments.data, folder, arguments.scale, arguments.dialect).run()
        except subprocess.CalledProcessError as error:
            print(f"failed with status {error.returncode}: {shlex.join(error.cmd)}", file=sys.stderr)
            return 1
    write_results(folder, arguments.results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
