"""The policy, schema and network tests of the overlays, on the chart with its defaults and with other values."""

import inspect
from types import ModuleType

import pytest

from . import test_network, test_policy, test_schemas
from .helm_releases import Release, helm, template
from .manifests import Manifest, largest_sets
from .test_network import by_component, policies  # noqa: F401 - fixtures of the tests below
from .test_policy import service_pods  # noqa: F401

# The fixtures that render an overlay, and those made of them.
RENDERED = {"manifests", "cell", "service_pods", "policies", "by_component"}
RELEASES = {
    "defaults": Release(),
    "gpu": Release(gpu=True),
    "tokens": Release(components=("cert-manager", "tokens", "monitoring", "tracing", "keda")),
    "trainer-service": Release(components=("cert-manager", "tokens", "trainer-service", "level-full", "hpa-queue")),
    "gpu-trainer-service": Release(gpu=True, components=("cert-manager", "tokens", "monitoring", "trainer-service")),
    **{f"gpu-full-{at}": Release(gpu=True, components=chosen) for at, chosen in enumerate(largest_sets("gpu"))},
    "stopped": Release(values="{executor: {replicas: 0}, generator: {replicas: 0}}"),
    "larger": Release(
        values="{executor: {replicas: 5, cpu: 4, memory: 8Gi, drainSeconds: 400}, generator: {replicas: 5}}"
    ),
    "gpu-larger": Release(
        gpu=True,
        name="other",
        values="""
            image: {registry: "registry.example:5000/team", pullSecrets: [{name: registry}]}
            model: {repository: Qwen/Qwen3-32B, tokenSecret: my-hub}
            generator: {gpus: 8, tensorParallel: 4, drainSeconds: 1000}
            trainer: {gpus: 4, run: second, settings: {optimizer.steps: 100}}
            storage: {runs: {storageClass: fast, size: 1Ti}, models: {storageClass: shared}}
        """,
    ),
}


def of_a_rendering(module: ModuleType) -> dict[str, object]:
    """Return the tests of a module that are given a rendering."""
    return {
        name: test
        for name, test in vars(module).items()
        if name.startswith("test_") and callable(test) and RENDERED & set(inspect.signature(test).parameters)
    }


for _module in (test_policy, test_schemas, test_network):
    globals().update(of_a_rendering(_module))


@pytest.fixture(params=RELEASES, scope="session")
def manifests(request, kustomize_command) -> list[Manifest]:
    if not helm():
        pytest.skip("helm is not installed: `make kubernetes-tools`")
    return template(RELEASES[request.param])


@pytest.fixture
def cell(manifests) -> list[Manifest]:
    return manifests
