"""The Helm chart: the same objects as the overlays, and what its values change."""

import itertools
import json
import math
import re
import subprocess

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .helm_releases import CHART, ChartError, Release, camel_case, differences, helm, meaning, template
from .manifests import COMPATIBLE, EXCLUSIVE, ROOT, Cell, Manifest, build, largest_sets, of_kind, pods, render
from .references import INSTANCE, dangling, selectors
from .test_network import reaches, selects

OVERLAYS = {False: "cpu-demo", True: "gpu"}


# Each overlay alone, with each component, and with all that are compatible, for each autoscaler.
SETS = [
    (overlay, components)
    for overlay in ("cpu-demo", "gpu")
    for components in [(), *((name,) for name in COMPATIBLE[overlay]), *largest_sets(overlay)]
]
SCALERS = [
    ("hpa", "HorizontalPodAutoscaler", "maxReplicas"),
    ("hpa-queue", "HorizontalPodAutoscaler", "maxReplicas"),
    ("keda", "ScaledObject", "maxReplicaCount"),
]


@pytest.fixture(autouse=True)
def _helm(kustomize_command) -> None:
    if not helm():
        pytest.skip("helm is not installed: `make kubernetes-tools`")


@pytest.mark.parametrize(("overlay", "components"), SETS, ids=str)
def test_chart_means_the_same_objects_as_the_overlay(overlay: str, components: tuple[str, ...]) -> None:
    chart = meaning(template(Release(overlay == "gpu", components)))
    overlay_objects = meaning(render(overlay, *components))
    assert differences(chart, overlay_objects) == [], "run `make chart`"


def rendered(values: object, **options: object) -> list[Manifest]:
    return template(Release(values=yaml.safe_dump(values), **options))  # type: ignore[arg-type]


def one(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    (found,) = (m for m in of_kind(manifests, kind) if m["metadata"]["name"] == name)
    return found


@pytest.mark.parametrize(
    "options",
    [
        {"namespace": "team-a", "name": "a"},
        {"namespace": "team-a", "prefix": "a-", "name": "a"},
        {"namespace": "123", "prefix": "deepmath-", "name": "1e3"},
    ],
    ids=str,
)
@pytest.mark.parametrize("gpu", [False, True], ids=OVERLAYS.values())
def test_release_has_any_namespace_and_prefix(gpu: bool, options: dict[str, str]) -> None:
    components = largest_sets(OVERLAYS[gpu])[0]
    manifests = template(Release(gpu, components, **options))
    cell = Cell(OVERLAYS[gpu], components, options["namespace"], options.get("prefix", ""))
    assert differences(meaning(manifests), meaning(build(cell))) == []
    assert dangling(manifests, options.get("prefix", "")) == []


def test_releases_in_one_namespace_with_different_prefixes_share_nothing() -> None:
    components = largest_sets("cpu-demo")[0]
    a, b = (template(Release(components=components, prefix=prefix)) for prefix in ("a-", "b-"))
    assert not set(meaning(a)) & set(meaning(b))
    policies = of_kind([*a, *b], "NetworkPolicy")
    for pod, stranger in itertools.product(pods(a), pods(b)):
        assert not any(reaches(policies, pod, stranger, port) for port in (7301, 7302, 7303))
    for source, selector in selectors(a):
        if INSTANCE in json.dumps(selector):
            assert not any(selects(selector, pod.labels) for pod in pods(b)), source


@pytest.mark.parametrize("components", EXCLUSIVE, ids="+".join)
def test_components_that_replace_each_other_are_refused(components: tuple[str, str]) -> None:
    one, other = (camel_case(name) for name in components)
    with pytest.raises(ChartError, match=rf"components\.{one} and components\.{other} exclude each other"):
        template(Release(components=components))


@pytest.mark.parametrize("executors", [0, 1, 5])
@pytest.mark.parametrize("generators", [0, 1, 5])
def test_executors_have_a_place_and_a_quarter_for_each_trajectory(executors: int, generators: int) -> None:
    values = {"executor": {"replicas": executors}, "generator": {"replicas": generators}}
    manifests = rendered(values)
    pods_of_executor = one(manifests, "Deployment", "executor")["spec"]["replicas"]
    assert one(manifests, "StatefulSet", "generator")["spec"]["replicas"] == generators
    places = int(one(manifests, "ConfigMap", "executor")["data"]["DEEPMATH_EXECUTOR_MAX_SESSIONS"])
    trajectories = int(one(manifests, "ConfigMap", "generator")["data"]["DEEPMATH_GENERATOR_MAX_TRAJECTORIES"])
    needed = math.ceil(1.25 * trajectories * generators / places)
    assert pods_of_executor == (max(executors, needed) if executors else 0)


def test_an_autoscaled_deployment_has_no_number_of_replicas() -> None:
    manifests = rendered({"executor": {"replicas": 5}}, components=("hpa",))
    assert "replicas" not in one(manifests, "Deployment", "executor")["spec"]


@pytest.mark.parametrize(("generators", "most"), [(0, 64), (2, 64), (100, 196)])
@pytest.mark.parametrize(("scaler", "kind", "bound"), SCALERS)
def test_autoscaler_may_add_the_executors_that_all_trajectories_need(
    scaler: str, kind: str, bound: str, generators: int, most: int
) -> None:
    manifests = rendered({"generator": {"replicas": generators}}, components=(scaler,))
    assert one(manifests, kind, "executor")["spec"][bound] == most


@pytest.mark.parametrize("seconds", [1, 59, 3600])
@pytest.mark.parametrize(("section", "kind"), [("executor", "Deployment"), ("generator", "StatefulSet")])
def test_grace_period_follows_the_drain(section: str, kind: str, seconds: int) -> None:
    spec = one(rendered({section: {"drainSeconds": seconds}}), kind, section)["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert f"--drain-seconds={seconds}" in container["args"]
    pre_stop = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert spec["terminationGracePeriodSeconds"] > pre_stop + seconds


@pytest.mark.parametrize(("gpus", "parallel", "expected"), [(1, 0, "1"), (8, 0, "8"), (8, 4, "4"), (4, 4, "4")])
def test_gpus_and_tensor_parallelism_go_together(gpus: int, parallel: int, expected: str) -> None:
    manifests = rendered({"generator": {"gpus": gpus, "tensorParallel": parallel}}, gpu=True)
    (container,) = one(manifests, "StatefulSet", "generator")["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == str(gpus)
    assert container["resources"]["requests"] == container["resources"]["limits"]
    assert one(manifests, "ConfigMap", "generator")["data"]["DEEPMATH_GENERATOR_TENSOR_PARALLEL"] == expected


def test_more_tensor_parallelism_than_gpus_is_refused() -> None:
    with pytest.raises(
        ChartError, match=r"generator\.tensorParallel is 8, but a pod has 4 GPUs: raise generator\.gpus"
    ):
        rendered({"generator": {"gpus": 4, "tensorParallel": 8}}, gpu=True)


@pytest.mark.parametrize("gpus", [1, 4])
def test_trainer_has_a_process_for_each_gpu(gpus: int) -> None:
    manifests = rendered({"trainer": {"gpus": gpus}}, gpu=True)
    (container,) = one(manifests, "Job", "trainer")["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == str(gpus)
    assert [a for a in container["args"] if "launch" in a] == ([f"launch.processes={gpus}"] if gpus > 1 else [])


def test_model_is_named_once() -> None:
    manifests = rendered({"model": {"repository": "Qwen/Qwen3-32B", "tokenSecret": "my-hub"}}, gpu=True)
    models, trainer = (
        one(manifests, "Job", name)["spec"]["template"]["spec"]["containers"][0] for name in ("models", "trainer")
    )
    assert {"Qwen/Qwen3-32B", "--local-dir=/cache/Qwen3-32B"} <= set(models["args"])
    assert "model=/cache/Qwen3-32B" in trainer["args"]
    generator = one(manifests, "ConfigMap", "generator")["data"]
    assert generator["DEEPMATH_GENERATOR_MODEL"] == "/cache/Qwen3-32B"
    assert "Qwen3-4B" not in json.dumps(manifests)
    assert models["env"][0]["valueFrom"]["secretKeyRef"]["name"] == "my-hub"


@pytest.mark.parametrize("gpu", [False, True], ids=OVERLAYS.values())
@pytest.mark.parametrize(("served", "expected"), [({}, "mine"), ({"adapterRun": "other"}, "other")], ids=str)
def test_generators_serve_the_adapter_of_the_trained_run(gpu: bool, served: object, expected: str) -> None:
    values = {"trainer": {"run": "mine"}, "generator": served, "components": {"adapter": True}}
    assert one(rendered(values, gpu=gpu), "ConfigMap", "adapter")["data"] == {"RUN": expected}


@pytest.mark.parametrize(
    ("values", "image"),
    [
        ({}, "deepmath-executor:{version}"),
        ({"registry": "127.0.0.1:5000/team"}, "127.0.0.1:5000/team/deepmath-executor:{version}"),
        ({"registry": "r.example", "tag": "9"}, "r.example/deepmath-executor:9"),
        ({"digests": {"executor": f"sha256:{'a' * 64}"}}, f"deepmath-executor@sha256:{'a' * 64}"),
    ],
)
def test_image_has_a_registry_and_a_tag_or_a_digest(values: object, image: str) -> None:
    version = re.search(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version
    deployment = one(rendered({"image": values}), "Deployment", "executor")
    assert deployment["spec"]["template"]["spec"]["containers"][0]["image"] == image.format(version=version[1])


TEXTS = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FFF, exclude_categories=["Cs", "Cc"]), max_size=30)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.from_regex("[A-Z][A-Z0-9_]{0,8}", fullmatch=True), TEXTS, max_size=4), TEXTS)
def test_any_text_arrives_unchanged(variables: dict[str, str], prompt: str) -> None:
    trainer = {"recipe": f"x{prompt}", "settings": {"data.prompt": prompt}}
    values = {"generator": {"settings": variables}, "trainer": trainer}
    manifests = rendered(values)
    data = one(manifests, "ConfigMap", "generator")["data"]
    assert {name: data[name] for name in variables} == variables
    (container,) = one(manifests, "Job", "trainer")["spec"]["template"]["spec"]["containers"]
    assert {f"data.prompt={prompt}", f"--config=x{prompt}"} <= set(container["args"])


@pytest.mark.parametrize(
    ("value", "text"),
    [(1000000, "1000000"), (4294967296, "4294967296"), (0, "0"), (0.5, "0.5"), (1e-6, "1e-06"), (True, "true")],
)
def test_number_arrives_as_it_is_written(value: object, text: str) -> None:
    """Helm reads the numbers of a file as floating-point numbers, which it would write as 1e+06."""
    manifests = rendered(
        {service: {"settings": {"A": value}} for service in ("executor", "generator")}
        | {"trainer": {"settings": {"optimizer.a": value}}}
    )
    assert [one(manifests, "ConfigMap", name)["data"]["A"] for name in ("executor", "generator")] == [text, text]
    (container,) = one(manifests, "Job", "trainer")["spec"]["template"]["spec"]["containers"]
    assert f"optimizer.a={text}" in container["args"]


@pytest.mark.parametrize(
    "values",
    [
        {"executors": {"replicas": 2}},
        {"executor": {"replica": 2}},
        {"executor": {"replicas": -1}},
        {"executor": {"replicas": "2"}},
        {"executor": {"memory": "2 GB"}},
        {"executor": {"drainSeconds": 0}},
        {"executor": {"settings": {"lower case": "x"}}},
        {"executor": {"settings": {"DEEPMATH_EXECUTOR_MAX_SESSIONS": 1}}},
        {"generator": {"settings": {"DEEPMATH_GENERATOR_MODEL": "x"}}},
        {"trainer": {"settings": {"generators": "[a:1]"}}},
        {"generator": {"gpus": 0}},
        {"trainer": {"run": "../other"}},
        {"trainer": {"run": "a\nb"}},
        {"model": {"repository": "one part"}},
        {"model": {"path": "relative"}},
        {"image": {"digests": {"executor": "latest"}}},
        {"image": {"digests": {"database": f"sha256:{'a' * 64}"}}},
        {"image": {"registry": "https://r.example"}},
        {"namePrefix": "Upper-"},
        {"namePrefix": "no-dash-at-the-end"},
        {"image": {"registry": "r.example/"}},
        {"components": {"token": True}},
        {"components": {"tokens": "yes"}},
        {"storage": {"runs": {"size": "much"}}},
    ],
    ids=json.dumps,
)
def test_invalid_value_is_refused_by_its_name(values: dict[str, object]) -> None:
    with pytest.raises(ChartError) as refused:
        rendered(values)
    assert "values don't meet the specifications of the schema" in str(refused.value)
    assert any(name in str(refused.value) for name in names_in(values))


def names_in(values: object) -> list[str]:
    return [*values, *(n for part in values.values() for n in names_in(part))] if isinstance(values, dict) else []


@pytest.mark.parametrize("gpu", [False, True], ids=OVERLAYS.values())
def test_helm_lint_accepts_the_chart(gpu: bool) -> None:
    values = ["--values", str(CHART / "values-gpu.yaml")] if gpu else []
    linted = subprocess.run(
        [helm() or "helm", "lint", "--strict", str(CHART), *values], capture_output=True, text=True, check=False
    )
    assert linted.returncode == 0, linted.stdout
    assert not re.search(r"\[(WARNING|ERROR)\]", linted.stdout)


def test_a_changed_setting_restarts_the_pods() -> None:
    before, after = rendered({}), rendered({"executor": {"settings": {"DEEPMATH_EXECUTOR_LOG_LEVEL": "debug"}}})
    templates = [one(manifests, "Deployment", "executor")["spec"]["template"] for manifests in (before, after)]
    assert templates[0]["metadata"]["annotations"] != templates[1]["metadata"]["annotations"]
    generators = [one(manifests, "StatefulSet", "generator")["spec"]["template"] for manifests in (before, after)]
    assert generators[0] == generators[1]


def test_volumes_outlive_the_release() -> None:
    claims = of_kind(template(Release(True, largest_sets("gpu")[0])), "PersistentVolumeClaim")
    assert {"runs", "models"} < {claim["metadata"]["name"] for claim in claims}
    assert all(claim["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep" for claim in claims)


@pytest.mark.parametrize("kind", ["Job", "StatefulSet"])
def test_resources_are_those_of_the_trainer_as_a_job_and_as_a_service(kind: str) -> None:
    components = ("trainer-service",) if kind == "StatefulSet" else ()
    values = {"trainer": {"cpu": 7, "memory": "9Gi", "gpus": 3}}
    (container,) = one(rendered(values, gpu=True, components=components), kind, "trainer")["spec"]["template"]["spec"][
        "containers"
    ]
    expected = {"cpu": "7", "memory": "9Gi", "nvidia.com/gpu": "3"}
    assert container["resources"] == {"limits": expected, "requests": expected}


def test_every_volume_has_a_size_and_a_storage_class() -> None:
    components = ("adapter", "compile-cache", "runs-backup")
    names = {"runs", "models", "adapters", "compileCache", "backups"}
    storage = {name: {"size": "7Gi", "storageClass": f"class-of-{name}"} for name in names}
    claims = of_kind(rendered({"storage": storage}, gpu=True, components=components), "PersistentVolumeClaim")
    assert {camel_case(claim["metadata"]["name"]) for claim in claims} == names
    for claim in claims:
        assert claim["spec"]["resources"]["requests"]["storage"] == "7Gi"
        assert claim["spec"]["storageClassName"] == f"class-of-{camel_case(claim['metadata']['name'])}"


def test_prometheus_of_the_cluster_is_a_value() -> None:
    monitoring = {"release": "mine", "address": "http://prometheus.other.svc:80"}
    manifests = rendered({"monitoring": monitoring}, components=("monitoring", "keda"))
    selected = of_kind(manifests, "PodMonitor", "PrometheusRule")
    assert [m["metadata"]["labels"]["release"] for m in selected] == ["mine"] * 5
    triggers = one(manifests, "ScaledObject", "executor")["spec"]["triggers"]
    assert {t["metadata"]["serverAddress"] for t in triggers} == {"http://prometheus.other.svc:80"}


def test_service_that_trains_has_settings_of_its_own() -> None:
    data = one(
        rendered({"trainer": {"environment": {"DEEPMATH_TRAINER_OTLP": "http://c:4317"}}}), "ConfigMap", "trainer"
    )["data"]
    assert data["DEEPMATH_TRAINER_OTLP"] == "http://c:4317"
    assert data["DEEPMATH_TRAINER_LOG_LEVEL"] == "info"


@pytest.mark.parametrize("scaler", [0, 1])
def test_every_pod_has_the_credentials_of_the_registry(scaler: int) -> None:
    secrets = [{"name": "registry"}]
    for pod in pods(rendered({"image": {"pullSecrets": secrets}}, gpu=True, components=largest_sets("gpu")[scaler])):
        assert pod.spec["imagePullSecrets"] == secrets, pod


def test_component_for_gpus_is_refused_without_one() -> None:
    with pytest.raises(ChartError, match=r"components\.gpuNodes needs gpu\.enabled"):
        template(Release(components=("gpu-nodes",)))
