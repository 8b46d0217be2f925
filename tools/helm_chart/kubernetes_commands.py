"""kubectl and helm: those beside this Python, which `make kubernetes-tools` unpacks, or those on the path."""

import shutil
import sys
from pathlib import Path


def command(name: str) -> str | None:
    """Return the path of a command; none if it is not installed."""
    beside = Path(sys.executable).with_name(name)
    return str(beside) if beside.exists() else shutil.which(name)


def kustomize() -> list[str]:
    """Return the command that renders a kustomization; empty if neither kubectl nor kustomize is installed."""
    if kubectl := command("kubectl"):
        return [kubectl, "kustomize"]
    alone = command("kustomize")
    return [alone, "build"] if alone else []
