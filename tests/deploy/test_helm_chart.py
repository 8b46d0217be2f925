"""The Helm chart: the same objects as the overlays, and what its values change."""

import itertools

import pytest

from .helm_releases import Release, differences, helm, meaning, template
from .manifests import COMPONENTS, EXCLUSIVE, Cell, build

OVERLAYS = {False: "cpu-demo", True: "gpu"}


def compatible(components: tuple[str, ...]) -> bool:
    return not any(frozenset(pair) in EXCLUSIVE for pair in itertools.combinations(components, 2))


MANY = [
    tuple(name for name in COMPONENTS if name not in left_out)
    for left_out in ({"hpa", "hpa-queue"}, {"hpa", "keda"}, {"hpa-queue", "keda", "trainer-service"})
]


@pytest.fixture(autouse=True)
def _helm(kustomize_command) -> None:
    if not helm():
        pytest.skip("helm is not installed: `make kubernetes-tools`")


@pytest.mark.parametrize("components", [(), *((name,) for name in COMPONENTS), *MANY], ids="+".join)
@pytest.mark.parametrize("gpu", [False, True], ids=OVERLAYS.values())
def test_chart_means_the_same_objects_as_the_overlay(gpu: bool, components: tuple[str, ...]) -> None:
    assert compatible(components)
    chart = meaning(template(Release(gpu, components)))
    overlay = meaning(build(Cell(OVERLAYS[gpu], components)))
    assert differences(chart, overlay) == [], "run `make chart`"
