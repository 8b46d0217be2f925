"""Results of the experiment on a real model: the four-way table with intervals, curves of the training, samples."""

import csv
import json
import platform
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from deepmath.evaluation.estimators import Estimate, bootstrap_mean, mcnemar_p_value

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
_INTRODUCTION = """# {model} on real problems

Written by `python -m benchmarks.real_model --scale {scale}`. Shares in %, with 95 % bootstrap intervals over problems;
{samples} sample(s) per problem. "Call rate": samples with a call of Python. Tokens: model and tool tokens per sample.
"""

Sample = dict[str, Any]


@dataclass(frozen=True)
class Evaluated:
    """The samples of one row."""

    name: str
    samples: Sequence[Sample]

    def of(self, benchmark: str, value: Callable[[Sample], float]) -> dict[str, float]:
        """Return the mean of `value` over the samples with a verdict of each problem."""
        values: dict[str, list[float]] = {}
        for sample in self.samples:
            if sample["benchmark"] == benchmark and sample["correct"] is not None:
                values.setdefault(sample["problem_id"], []).append(value(sample))
        return {problem: sum(own) / len(own) for problem, own in sorted(values.items())}


def write_results(folder: Path, results: Path) -> None:
    """Write the results of the experiment in `folder` that are there so far."""
    results.mkdir(parents=True, exist_ok=True)
    run = folder / "runs" / "grpo"
    rows = [
        Evaluated(name, read(file))
        for name in ROWS
        if (file := folder / "evaluation" / name / "samples.jsonl").exists()
    ]
    settings = json.loads((folder / "experiment.json").read_text())
    metrics = read(run / "metrics.jsonl") if (run / "metrics.jsonl").exists() else []
    events = read(folder / "events.jsonl")
    parts = [
        _INTRODUCTION.format(
            **settings, samples=max((one["sample"] for row in rows for one in row.samples), default=0) + 1
        ),
        *(
            f"## {benchmark}\n\n{accuracy_table(rows, benchmark)}\n\n{pair_table(rows, benchmark)}"
            for benchmark in names(rows)
        ),
        f"## Training\n\n{step_table(metrics)}",
        f"## Services\n\n{service_table(events)}",
        f"## Hardware\n\n{hardware()}",
    ]
    (results / "table.md").write_text("\n\n".join(part.strip() for part in parts) + "\n")
    write_steps(metrics, results / "steps.csv")
    write_lines(results / "verdicts.jsonl", (verdict(sample) for row in rows for sample in row.samples))
    write_lines(results / "samples.jsonl", (trace(sample) for row in rows for sample in some(row)))
    write_lines(results / "events.jsonl", (event for event in events if not event["event"].startswith("memory")))
    if (run / "config.yaml").exists():
        shutil.copy(run / "config.yaml", results / "config.yaml")
        config = yaml.safe_load((results / "config.yaml").read_text())
        config |= {"model": settings["model"], "generators": []}
        config["data"] |= {"dataset": "gsm8k_train.jsonl"}
        (results / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    if (plot := run / "plots" / "overview.png").exists():
        shutil.copy(plot, results / "curves.png")


def accuracy_table(rows: Sequence[Evaluated], benchmark: str) -> str:
    """Return accuracy, call rate and tokens of each row."""
    lines = ["| | problems | accuracy, % | call rate, % | call succeeded, % | tokens |", "|---|--:|--:|--:|--:|--:|"]
    for row in rows:
        correct = row.of(benchmark, lambda sample: bool(sample["correct"]))
        if correct:
            called = row.of(benchmark, lambda sample: bool(sample["snippets"]))
            succeeded = row.of(benchmark, lambda sample: any(one["outcome"] == "OK" for one in sample["snippets"]))
            tokens = row.of(benchmark, lambda sample: sample["model_tokens"] + sample["tool_tokens"])
            shares = " | ".join(percent(bootstrap_mean(list(one.values()))) for one in (correct, called, succeeded))
            lines.append(f"| {row.name} | {len(correct)} | {shares} | {count(bootstrap_mean(list(tokens.values())))} |")
    return "\n".join(lines)


def pair_table(rows: Sequence[Evaluated], benchmark: str) -> str:
    """Return the paired differences of accuracy between rows."""
    correct = {row.name: row.of(benchmark, lambda sample: bool(sample["correct"])) for row in rows}
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


def step_table(metrics: Sequence[dict[str, Any]]) -> str:
    """Return the metrics of each optimizer step."""
    lines = [f"| step | {' | '.join(STEP_METRICS.values())} |", "|--:|" + "--:|" * len(STEP_METRICS)]
    for line in metrics:
        values = (f"{line['metrics'].get(name, float('nan')):.4g}" for name in STEP_METRICS)
        lines.append(f"| {line['step']} | {' | '.join(values)} |")
    return "\n".join(lines)


def service_table(events: Iterable[dict[str, Any]]) -> str:
    """Return the time to start and the peak memory of each service."""
    lines = ["| service | start, s | peak memory, GiB |", "|---|--:|--:|"]
    events = list(events)
    for name in ("executor", "generator", "trainer"):
        starts = [event["seconds"] for event in events if event["event"] == f"{name} started"]
        peaks = [event["gib"] for event in events if event["event"] == f"memory of {name}"]
        if starts:
            lines.append(f"| {name} | {max(starts):.0f} | {max(peaks, default=0):.1f} |")
    return "\n".join(lines)


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


def names(rows: Iterable[Evaluated]) -> list[str]:
    """Return the names of the problem sets."""
    return list(dict.fromkeys(sample["benchmark"] for row in rows for sample in row.samples))


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


def some(row: Evaluated) -> list[Sample]:
    """Return a few samples of each problem set: those of the first problems."""
    ordered = sorted(row.samples, key=lambda sample: (sample["problem_id"], sample["sample"]))
    return [
        sample
        for benchmark in names([row])
        for sample in [one for one in ordered if one["benchmark"] == benchmark][:TRACES]
    ]


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
