"""Results of the experiment on a real model: the four-way table with intervals, curves of the training, samples."""

import csv
import json
import platform
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from PIL import Image

from deepmath.evaluation.estimators import Estimate, bootstrap_mean, mcnemar_p_value

SERVICES = ("executor", "generator", "trainer")
ROWS = ("Baseline", "+GRPO", "+Agent", "DeepMath")
"""In the order of the paper's table."""
PAIRS = (("DeepMath", "+Agent"), ("+GRPO", "Baseline"), ("+Agent", "Baseline"), ("DeepMath", "Baseline"))
STEP_METRICS = {
    "reward": "reward",
    "accuracy": "accuracy",
    "code_rate": "call rate",
    "code_used_rate": "output used",
    "model_tokens": "model tokens",
    "truncated_rate": "truncated",
    "flat_groups": "flat groups",
    "generate_seconds": "sampling, s",
    "train_seconds": "training, s",
}
TRACES = 3
"""Whole samples kept of each row, per problem set."""
_COLOURS = 32  # of the plots: their files are a third as large
_INTRODUCTION = """# {model} on real problems

Written by `python -m benchmarks.real_model --scale {scale}`. Shares in %, with 95 % bootstrap intervals over problems;
{samples} sample(s) per problem. "Call rate": samples with a call of Python. Tokens: model and tool tokens per sample.
"""

Sample = dict[str, Any]


@dataclass(frozen=True)
class Evaluated:
    """The verdicts of one row."""

    name: str
    verdicts: Sequence[Sample]

    def of(self, benchmark: str, value: Callable[[Sample], float]) -> dict[str, float]:
        """Return for each problem the mean of `value` over its samples with a verdict."""
        values: dict[str, list[float]] = {}
        for sample in self.verdicts:
            if sample["benchmark"] == benchmark and sample["correct"] is not None:
                values.setdefault(sample["problem_id"], []).append(value(sample))
        return {problem: sum(own) / len(own) for problem, own in sorted(values.items())}


def write_results(folder: Path, results: Path) -> None:
    """Write the results of the experiment in `folder` that are there so far."""
    results.mkdir(parents=True, exist_ok=True)
    run = folder / "runs" / "grpo"
    files = [folder / "evaluation" / name / "samples.jsonl" for name in ROWS]
    samples = [read(file) for file in files if file.exists()]
    settings = json.loads((folder / "experiment.json").read_text())
    metrics = read(run / "metrics.jsonl") if (run / "metrics.jsonl").exists() else []
    events = [event for event in read(folder / "events.jsonl") if "memory" not in event["event"]]
    events += peaks(read(folder / "events.jsonl"))
    write_lines(results / "verdicts.jsonl", (verdict(sample) for row in samples for sample in ordered(row)))
    write_lines(results / "samples.jsonl", (trace(sample) for row in samples for sample in some(row)))
    write_lines(results / "events.jsonl", events)
    (results / "experiment.json").write_text(json.dumps(settings | {"hardware": hardware()}, indent=2) + "\n")
    write_steps(metrics, results / "steps.csv")
    if (run / "config.yaml").exists():
        (results / "config.yaml").write_text(portable(run / "config.yaml", settings["model"]))
    if (plot := run / "plots" / "overview.png").exists():
        Image.open(plot).quantize(_COLOURS).save(results / "curves.png", optimize=True)
    (results / "table.md").write_text(tables(results))


def tables(results: Path) -> str:
    """Return the tables of the results in a folder."""
    settings = json.loads((results / "experiment.json").read_text())
    verdicts = read(results / "verdicts.jsonl")
    rows = [Evaluated(name, [one for one in verdicts if one["configuration"] == name]) for name in ROWS]
    benchmarks = sorted({one["benchmark"] for one in verdicts})
    events = read(results / "events.jsonl")
    with (results / "steps.csv").open(newline="") as file:
        steps = list(csv.DictReader(file))
    parts = [
        _INTRODUCTION.format(**settings, samples=max(one["sample"] for one in verdicts) + 1),
        *(
            f"## {benchmark}\n\n{accuracy_table(rows, benchmark)}\n\n{pair_table(rows, benchmark)}"
            for benchmark in benchmarks
        ),
        f"## Training\n\n{step_table(steps)}",
        f"## Services\n\n{service_table(events)}",
        f"## Hardware\n\n{settings['hardware']}",
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def accuracy_table(rows: Sequence[Evaluated], benchmark: str) -> str:
    """Return accuracy, call rate and tokens of each row."""
    lines = ["| | problems | accuracy, % | call rate, % | call succeeded, % | tokens |", "|---|--:|--:|--:|--:|--:|"]
    for row in rows:
        correct = row.of(benchmark, lambda one: bool(one["correct"]))
        if correct:
            called = row.of(benchmark, lambda one: bool(one["calls"]))
            succeeded = row.of(benchmark, lambda one: "OK" in one["calls"])
            tokens = row.of(benchmark, lambda one: one["tokens"])
            shares = " | ".join(percent(bootstrap_mean(list(one.values()))) for one in (correct, called, succeeded))
            lines.append(f"| {row.name} | {len(correct)} | {shares} | {count(bootstrap_mean(list(tokens.values())))} |")
    return "\n".join(lines)


def pair_table(rows: Sequence[Evaluated], benchmark: str) -> str:
    """Return the paired differences of accuracy between rows."""
    correct = {row.name: row.of(benchmark, lambda one: bool(one["correct"])) for row in rows}
    lines = ["| difference | accuracy, points | wins | losses | McNemar's p |", "|---|--:|--:|--:|--:|"]
    for first, second in PAIRS:
        if correct.get(first) and correct.get(second):
            problems = correct[first].keys() & correct[second].keys()
            differences = [correct[first][problem] - correct[second][problem] for problem in sorted(problems)]
            wins, losses = sum(one > 0 for one in differences), sum(one < 0 for one in differences)
            difference = percent(bootstrap_mean(differences))
            p_value = mcnemar_p_value(wins, losses)
            lines.append(f"| {first} less {second} | {difference} | {wins} | {losses} | {p_value:.2f} |")
    return "\n".join(lines)


def step_table(steps: Sequence[dict[str, str]]) -> str:
    """Return the metrics of each optimizer step."""
    lines = [f"| step | {' | '.join(STEP_METRICS.values())} |", "|--:|" + "--:|" * len(STEP_METRICS)]
    for step in steps:
        values = (f"{float(step[name]):.3g}" for name in STEP_METRICS)
        lines.append(f"| {step['step']} | {' | '.join(values)} |")
    return "\n".join(lines)


def service_table(events: Sequence[dict[str, Any]]) -> str:
    """Return the longest start of each service, and the most memory that it had for itself."""
    lines = ["| service | start, s | peak memory, GiB |", "|---|--:|--:|"]
    for name in SERVICES:
        starts = [event["seconds"] for event in events if event["event"] == f"{name} started"]
        memory = [event["gib"] for event in events if event["event"] == f"memory of {name}"]
        lines.append(f"| {name} | {max(starts, default=0):.0f} | {max(memory, default=0):.1f} |")
    return "\n".join(lines)


def peaks(events: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the event with the most memory of each service."""
    memory = [[event for event in events if event["event"] == f"memory of {name}"] for name in SERVICES]
    return [max(one, key=lambda event: float(event["gib"])) for one in memory if one]


def portable(config: Path, model: str) -> str:
    """Return a run's configuration without the paths of this machine."""
    settings = yaml.safe_load(config.read_text())
    settings |= {"model": model, "generators": [], "data": settings["data"] | {"dataset": "gsm8k_train.jsonl"}}
    text: str = yaml.safe_dump(settings, sort_keys=False)
    return text


def hardware() -> str:
    """Return the processor of this machine and the cores that this process may use."""
    import psutil

    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.processor(),
    )
    return f"{model}, {psutil.cpu_count()} cores, {psutil.virtual_memory().total / 2**30:.0f} GiB"


def percent(estimate: Estimate) -> str:
    """Return a share in percent with its interval."""
    return f"{100 * estimate.value:.1f} [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"


def count(estimate: Estimate) -> str:
    """Return a mean with its interval."""
    return f"{estimate.value:.0f} [{estimate.low:.0f}, {estimate.high:.0f}]"


def verdict(sample: Sample) -> Sample:
    """Return what was decided on a sample, without its text."""
    kept = ("configuration", "benchmark", "problem_id", "sample", "gold", "answer", "correct", "status")
    return {name: sample[name] for name in kept} | {
        "tokens": sample["model_tokens"] + sample["tool_tokens"],
        "calls": [snippet["outcome"] for snippet in sample["snippets"]],
    }


def trace(sample: Sample) -> Sample:
    """Return a sample's text with its verdict."""
    return verdict(sample) | {"text": sample["text"]}


def some(samples: Sequence[Sample]) -> list[Sample]:
    """Return a few samples of each problem set: those of the first problems."""
    sets: dict[str, list[Sample]] = {}
    for sample in ordered(samples):
        sets.setdefault(sample["benchmark"], []).append(sample)
    return [sample for own in sets.values() for sample in own[:TRACES]]


def ordered(samples: Sequence[Sample]) -> list[Sample]:
    """Return samples by problem, not by the time at which they ended."""
    return sorted(samples, key=lambda sample: (sample["benchmark"], sample["problem_id"], sample["sample"]))


def read(file: Path) -> list[dict[str, Any]]:
    """Return the lines of a file that are complete."""
    return [json.loads(line) for line in file.read_text().splitlines(keepends=True) if line.endswith("\n")]


def write_lines(file: Path, values: Iterable[Sample]) -> None:
    """Write a file of JSON Lines."""
    file.write_text("".join(f"{json.dumps(value, ensure_ascii=False)}\n" for value in values))


def write_steps(metrics: Sequence[dict[str, Any]], file: Path) -> None:
    """Write all metrics of all optimizer steps."""
    columns = sorted({name for line in metrics for name in line["metrics"]})
    with file.open("w", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["step", *columns])
        writer.writerows([line["step"], *(line["metrics"].get(name, "") for name in columns)] for line in metrics)
