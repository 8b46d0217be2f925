"""Renderings of the manifests. Tests are skipped if neither kubectl nor kustomize is installed."""

import pytest

from .manifests import RENDERINGS, Manifest, kustomize, render, render_cluster


@pytest.fixture(scope="session")
def kustomize_command() -> list[str]:
    if not (command := kustomize()):
        pytest.skip("neither kubectl nor kustomize is installed: the manifests cannot be rendered")
    return command


def _name(rendering: tuple[str, ...]) -> str:
    return "+".join(rendering if len(rendering) < 3 else (rendering[0], "all", rendering[-1]))


@pytest.fixture(params=RENDERINGS, ids=_name, scope="session")
def cell(request, kustomize_command) -> list[Manifest]:
    """One rendering of a cell: an overlay with any components."""
    return render(*request.param)


@pytest.fixture(params=[*RENDERINGS, ("cluster",)], ids=_name, scope="session")
def manifests(request, kustomize_command) -> list[Manifest]:
    """One rendering of a cell, or of what a cluster has once."""
    return render_cluster() if request.param == ("cluster",) else render(*request.param)
