"""Kill matrix: services of a training run killed with SIGKILL at every kind of moment.

`python -m benchmarks.kill_matrix` trains a small run once without a kill, then once for each row and column of the
table: the trainer's worker halts at the moment, the services of the column are killed and started again, and the run
goes on until it is done. Its metrics, traces, evaluation and adapter must equal those of the run without a kill, bit
for bit. `--changes` kills the trainer before every change that it makes to a file of the run's folder instead.

The generator is real except for its engine (`kill_matrix_generator`), executor and trainer are real. The table goes to
docs/results/kill-matrix.md.
"""

import argparse
import asyncio
import json
import multiprocessing
import re
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from deepmath_trainer.run_config import TrainConfig
from deepmath_trainer.run_config_parser import parse_config, read_recipe
from deepmath_trainer.run_folder import RunFolder

from benchmarks import kill_matrix_worker

RESULTS = Path(__file__).parent.parent / "docs" / "results" / "kill-matrix.md"
STEPS, EVERY = 8, 4
SETTINGS = (
    f"optimizer.steps={STEPS}",
    f"checkpoint.every={EVERY}",
    "checkpoint.keep=1",
    "curriculum.order=pass_rate",
    "rollout.groups=2",
    "rollout.samples=4",
    "rollout.max_tokens=160",
    "optimizer.micro_batch=8",
    "optimizer.warmup=0",
    "evaluation.problems=4",
    "data.limit=64",
    "launch.threads=1",
    "report_to=[]",
)
TRAINER, GENERATOR, EXECUTOR = "trainer", "generator", "executor"
ALL = (TRAINER, GENERATOR, EXECUTOR)
MOMENTS = {
    "evaluation before training": "evaluation sampled by policy 0",
    "step 2, before the first checkpoint": "after step 2",
    "upload of a policy": "upload of policy 3",
    "checkpoint half written": "write checkpoints/.writing/checkpoint-4/trainer_state.json",
    "before the checkpoint's rename": f"rename checkpoints/checkpoint-{EVERY}",
    "after the checkpoint's rename": "remove journal/0/batch-000000.binpb",
    "1 step past the checkpoint": f"after step {EVERY + 1}",
    "3 steps past the checkpoint": f"after step {EVERY + 3}",
    "before the second checkpoint's rename": f"rename checkpoints/checkpoint-{2 * EVERY}",
    "deletion of the first checkpoint": f"rename checkpoints/.writing/old-checkpoint-{EVERY}",
    "evaluation after training": f"evaluation sampled by policy {STEPS}",
    "result half written": "write adapter/training.yaml",
    "plots": "mkdir plots",
}
# Of the worker that resumes the run, after a kill 3 steps past the checkpoint.
AGAIN = {
    "again, while the logs are cut": "truncate traces.jsonl",
    "again, while the sampler is restored": f"write policies/step-{EVERY - 1}/adapter_config.json",
    "again, at the same step": f"after step {EVERY + 3}",
}
CLOCKS = ("seconds", "idle", "per_s")  # measurements of time differ between runs
_INTRODUCTION = f"""# Kill matrix

Written by `python -m benchmarks.kill_matrix`: a run of {STEPS} steps with a checkpoint every {EVERY}. At each moment
the services of the column were killed with SIGKILL and started again. "equal": the run ended `done`, and its
metrics, traces, evaluation, adapter and files are those of a run without a kill, bit for bit.
"""
_PATIENCE_S = 180.0
_processes = multiprocessing.get_context("forkserver")


class Failed(Exception):
    """The run did not end as it should."""


@dataclass
class Services:
    """An executor and a generator, which can be killed and started again at the same address."""

    folder: Path
    max_adapters: int = 3
    running: dict[str, asyncio.subprocess.Process] = field(default_factory=dict)

    def address(self, name: str) -> str:
        """Return the address of a service."""
        return f"unix:{self.folder}/{name}.sock"

    async def start(self, *names: str) -> None:
        """Start services."""
        await asyncio.gather(*map(self._start, names))

    async def kill(self, *names: str) -> None:
        """Kill services, without their children, which end by themselves."""
        for name in names:
            if self.running[name].returncode is None:
                self.running[name].kill()
            await self.running[name].wait()

    async def restart_ended(self) -> None:
        """Start those again that a cell has left killed."""
        await self.start(*(name for name, process in self.running.items() if process.returncode is not None))

    async def _start(self, name: str) -> None:
        executor = (sys.executable, "-P", "-m", "deepmath_executor", f"--listen={self.address(name)}", "--preload=none")
        generator = (sys.executable, "-m", "benchmarks.kill_matrix_generator", self.address(name))
        options = (self.address(EXECUTOR), str(self.max_adapters))
        command = executor if name == EXECUTOR else (*generator, *options)
        with (self.folder / f"{name}.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *command, stdout=asyncio.subprocess.PIPE, stderr=log, cwd=Path(__file__).parent.parent
            )
        assert process.stdout
        while not (line := await process.stdout.readline()).startswith(b"serving on"):
            if not line:
                raise Failed((self.folder / f"{name}.log").read_text()[-2000:])
        self.running[name] = process


@asynccontextmanager
async def services(max_adapters: int = 3) -> AsyncIterator[Services]:
    """Run an executor and a generator for the block."""
    _processes.set_forkserver_preload(["deepmath_trainer.grpo_trainer", "deepmath_trainer.training_worker"])
    started = Services(Path(tempfile.mkdtemp(prefix="kills-")), max_adapters)
    try:
        await started.start(EXECUTOR, GENERATOR)
        yield started
    finally:
        await started.kill(*started.running)
        shutil.rmtree(started.folder, ignore_errors=True)


class Worker:
    """A run's worker, which halts at the moment `until`."""

    def __init__(self, folder: Path, until: str | None = None) -> None:
        self.folder = RunFolder(folder)
        self._connection, theirs = _processes.Pipe()
        self.process = _processes.Process(target=kill_matrix_worker.train, args=(str(folder), until, theirs))
        self.process.start()
        theirs.close()

    async def report(self) -> Any:
        """Return the moment at which it halts, or the list of all that it passed if it has ended."""
        try:
            async with asyncio.timeout(_PATIENCE_S):
                return await asyncio.to_thread(self._receive)
        except (TimeoutError, EOFError):
            self.kill()
            raise Failed(self.folder.worker_log.read_text()[-2000:]) from None

    def go_on(self, until: str | None) -> None:
        """Continue until the moment `until`, or to the end."""
        self._connection.send(until)

    def kill(self) -> None:
        """Kill it with its children."""
        children = psutil.Process(self.process.pid).children(recursive=True) if self.process.is_alive() else []
        self.process.kill()
        self.process.join()
        psutil.wait_procs(children, timeout=20)

    def _receive(self) -> Any:
        if not self._connection.poll(_PATIENCE_S):
            raise TimeoutError
        return self._connection.recv()


def settings(generator: str, *overrides: str) -> TrainConfig:
    """Return the configuration of the run."""
    return parse_config(read_recipe("tiny-math"), [*SETTINGS, f"generators=['{generator}']", *overrides])


async def train(path: Path, config: TrainConfig, served: Services, *kills: tuple[str, Sequence[str]]) -> list[str]:
    """Train a run to its end, with `kills`: moments in order, and the services to kill there.

    Return the moments that the last worker passed.

    Raises:
        Failed: it did not end as it should.
    """
    path.mkdir(parents=True)  # noqa: ASYNC240
    folder = RunFolder(path)
    folder.write_config(config.to_yaml())
    worker = None
    for number, (moment, victims) in enumerate(kills, start=1):
        worker = worker or Worker(path, moment)
        if (reached := await worker.report()) != moment:
            raise Failed(f"the run ended before {moment!r}: {reached}")
        if TRAINER in victims:
            worker.kill()
            worker = None
        others = [name for name in victims if name != TRAINER]
        await served.kill(*others)
        await served.start(*others)
        if worker:
            worker.go_on(kills[number][0] if number < len(kills) else None)
    worker = worker or Worker(path)
    passed: list[str] = await worker.report()
    worker.process.join()
    if (status := folder.read_state().status) != "done":
        raise Failed(f"{status}: {folder.read_state().error}")
    return passed


def outcome(path: Path) -> dict[str, Any]:
    """Return what a run's folder says, without measurements of time."""
    folder = RunFolder(path)
    lines = [json.loads(line) for line in folder.traces.read_text().splitlines()]
    return {
        "metrics": [(line["step"], _without_clocks(line["metrics"])) for line in folder.read_metrics()],
        "traces": lines,
        "evaluation": folder.read_evaluation(),
        "adapter": (folder.adapter / "adapter_model.safetensors").read_bytes(),
        "files": sorted(file for file in _files(path) if not file.startswith("policies/")),  # none is needed any more
    }


def _files(path: Path) -> Iterator[str]:
    return (str(file.relative_to(path)) for file in path.rglob("*") if file.is_file())


def _without_clocks(metrics: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if not name.endswith(CLOCKS)}


def differences(path: Path, reference: Path) -> list[str]:
    """Return the parts in which a run differs from another one."""
    one, other = outcome(path), outcome(reference)
    return [part for part in one if one[part] != other[part]]


@dataclass(frozen=True)
class Cell:
    """A run with kills, and its result."""

    row: str
    column: str
    kills: tuple[tuple[str, tuple[str, ...]], ...]


def matrix() -> list[Cell]:
    """Return the cells of the table: each moment, with each service and all together."""
    columns = {**{name: (name,) for name in ALL}, "all three": ALL}
    once = [
        Cell(row, column, ((moment, victims),))
        for row, moment in MOMENTS.items()
        for column, victims in columns.items()
    ]
    past = (MOMENTS["3 steps past the checkpoint"], (TRAINER,))
    twice = [
        Cell(row, column, (past, (moment, victims)))
        for row, moment in AGAIN.items()
        for column, victims in columns.items()
        if TRAINER in victims
    ]
    return once + twice


def changes(passed: Sequence[str]) -> list[Cell]:
    """Return a cell for each kind of change among the moments that a run passed, at its last occurrence."""
    kinds = {re.sub(r"\d+", "N", moment): moment for moment in passed}
    return [Cell(moment, TRAINER, ((moment, (TRAINER,)),)) for moment in kinds.values()]


async def measure(every_change: bool, only: str) -> tuple[list[Cell], dict[Cell, str]]:
    """Run the cells whose row contains `only`; return them and their results."""
    results: dict[Cell, str] = {}
    folder = Path(tempfile.mkdtemp(prefix="kill-matrix-"))
    async with services() as served:
        config = settings(served.address(GENERATOR))
        passed = await train(folder / "reference", config, served)
        cells = [cell for cell in (changes(passed) if every_change else matrix()) if only in cell.row]
        for number, cell in enumerate(cells):
            started = time.monotonic()
            path = folder / str(number)
            try:
                await train(path, config, served, *cell.kills)
                different = differences(path, folder / "reference")
                results[cell] = f"differs: {', '.join(different)}" if different else "equal"
            except Failed as error:
                results[cell] = f"fails: {str(error).strip().splitlines()[-1]}"
            print(f"{cell.row} | {cell.column} | {results[cell]} | {time.monotonic() - started:.0f} s", flush=True)
            if results[cell] == "equal":
                shutil.rmtree(path)
            await served.restart_ended()
    if set(results.values()) <= {"equal"}:
        shutil.rmtree(folder)
    return cells, results


def table(cells: Sequence[Cell], results: Mapping[Cell, str]) -> str:
    """Return the results as a Markdown table: a row for each moment, a column for each service."""
    rows, columns = dict.fromkeys(cell.row for cell in cells), dict.fromkeys(cell.column for cell in cells)
    found = {(cell.row, cell.column): results[cell] for cell in cells}
    lines = [f"| moment | {' | '.join(columns)} |", "|---|" + "---|" * len(columns)]
    lines += [f"| {row} | {' | '.join(found.get((row, column), '') for column in columns)} |" for row in rows]
    return "\n".join(lines)


def main() -> int:
    """Run the benchmark; return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kill_matrix", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--changes", action="store_true", help="Kill the trainer before every kind of file change.")
    parser.add_argument("--only", default="", metavar="TEXT", help="Only the rows that contain TEXT.")
    arguments = parser.parse_args()
    cells, results = asyncio.run(measure(arguments.changes, arguments.only))
    text = table(cells, results)
    print(text)
    if not arguments.only and not arguments.changes:
        RESULTS.write_text(f"{_INTRODUCTION}\n{text}\n")
    return int(any(result != "equal" for result in results.values()))


if __name__ == "__main__":
    sys.exit(main())
