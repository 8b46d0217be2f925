"""Names of images, `make push` to a registry, and digests in a kustomization."""

import io
import re
import subprocess
import tarfile
import uuid
from collections.abc import Iterator

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from support.docker_engine import docker, docker_engine  # noqa: F401
from support.image_registry import digest_of, registry  # noqa: F401

from tools.push_images import Reference

from .manifests import ROOT, kustomize, pods, render

NAMES = ("executor", "generator", "trainer", "gateway")
HOSTS = st.sampled_from(
    ["", "registry.example/", "127.0.0.1:5000/", "localhost:5000/", "[::1]:5000/", "r.example:443/"]
)
PATHS = st.lists(st.from_regex(r"[a-z0-9]+([._-][a-z0-9]+)*", fullmatch=True), min_size=1, max_size=3)
TAGS = st.one_of(st.just(""), st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True))
DIGESTS = st.one_of(st.just(""), st.from_regex(r"sha256:[0-9a-f]{64}", fullmatch=True))


@settings(deadline=None)
@given(HOSTS, PATHS, TAGS, DIGESTS)
def test_name_is_parsed_into_what_it_was_made_of(host: str, path: list[str], tag: str, digest: str) -> None:
    repository = host + "/".join(path)
    name = repository + (f":{tag}" if tag else "") + (f"@{digest}" if digest else "")
    assert Reference.parse(name) == Reference(repository, tag, digest)
    assert Reference.parse(name).base == path[-1]


def build_commands(*variables: str) -> subprocess.CompletedProcess[str]:
    """Return what `make images` would run."""
    command = ["make", "--dry-run", "--no-print-directory", "images", "IMAGES=executor", *variables]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("name", "tagged_with_version"),
    [
        ("deepmath-executor", True),
        ("deepmath-executor:0.9", False),
        ("registry.example:5000/deepmath-executor", True),
        ("registry.example:5000/deepmath-executor:0.9", False),
        ("registry.example:5000/team/a/deepmath-executor", True),
        ("registry.example/team/deepmath-executor:0.9-cuda", False),
    ],
)
def test_image_without_a_tag_is_tagged_with_the_version(name: str, tagged_with_version: bool) -> None:
    commands = build_commands(f"EXECUTOR_IMAGE={name}")
    assert commands.returncode == 0, commands.stderr
    assert f"--tag {name} " in commands.stdout
    assert (
        bool(re.search(rf"docker tag {re.escape(name)} {re.escape(name)}:\d", commands.stdout)) is tagged_with_version
    )


def test_image_is_not_built_under_a_digest() -> None:
    refused = build_commands(f"EXECUTOR_IMAGE=deepmath-executor@sha256:{'0' * 64}")
    assert refused.returncode == 2
    assert "is built under a name and a tag, not under a digest" in refused.stderr


def push(*variables: str) -> subprocess.CompletedProcess[str]:
    command = ["make", "--no-print-directory", "push", *variables]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ((), "name the registry: make push REGISTRY=host:port/path"),
        (("REGISTRY=http://a.example/b",), "'http://a.example/b' is not a registry"),
        (("REGISTRY=a b",), "'a b' is not a registry"),
    ],
)
def test_push_without_a_registry_says_how_to_name_one(variables: tuple[str, ...], message: str) -> None:
    refused = push(*variables)
    assert refused.returncode == 2
    assert message in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.fixture
def local_images(docker_engine) -> Iterator[dict[str, str]]:  # noqa: F811
    """Small images under names as users give them: without a tag, and with the port of another registry."""
    folder = f"push-test-{uuid.uuid4().hex[:8]}"
    images = {
        "executor": f"{folder}/deepmath-executor",
        "generator": f"registry.example:5000/{folder}/deepmath-generator",
        "trainer": f"registry.example:5000/{folder}/deepmath-trainer:1.2.3-cuda",
        "gateway": f"{folder}/deepmath-gateway",
    }
    (version,) = set(re.findall(r"--build-arg VERSION=(\S+)", build_commands().stdout))
    tagged = [*(images[name] + f":{version}" for name in ("executor", "generator", "gateway")), images["trainer"]]
    for name in tagged:
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w") as files:
            files.addfile(tarfile.TarInfo(name.replace("/", "-").replace(":", "-")))
        subprocess.run(["docker", "import", "-", name], input=content.getvalue(), check=True, capture_output=True)
    try:
        yield images
    finally:
        docker("rmi", "--force", *tagged)


def test_pushed_images_are_in_the_registry_under_the_printed_digests(registry, local_images, tmp_path) -> None:  # noqa: F811
    names = [f"{name.upper()}_IMAGE={image}" for name, image in local_images.items()]
    pushed = push(f"REGISTRY={registry}/team/deepmath", *names)
    assert pushed.returncode == 0, pushed.stderr
    images = yaml.safe_load(pushed.stdout)["images"]
    targets = re.findall(r"pushed (\S+)", pushed.stderr)
    try:
        assert [image["name"] for image in images] == [f"deepmath-{name}" for name in NAMES]
        tags = [Reference.parse(target).tag for target in targets]
        assert tags[2] == "1.2.3-cuda"
        for image, tag in zip(images, tags, strict=True):
            assert image["newName"] == f"{registry}/team/deepmath/{image['name']}"
            assert image["digest"] == digest_of(registry, f"team/deepmath/{image['name']}", tag)
        again = push(f"REGISTRY={registry}/other", "IMAGES=executor", f"EXECUTOR_IMAGE={by_digest(images[0])}")
        assert yaml.safe_load(again.stdout)["images"][0]["digest"] == images[0]["digest"]
        targets += re.findall(r"pushed (\S+)", again.stderr)
    finally:
        docker("rmi", "--force", *targets)


def by_digest(image: dict[str, str]) -> str:
    return f"{image['newName']}@{image['digest']}"


def test_image_that_does_not_exist_is_reported_by_docker(registry, docker_engine) -> None:  # noqa: F811
    failed = push(f"REGISTRY={registry}/x", "IMAGES=executor", f"EXECUTOR_IMAGE=no-such-{uuid.uuid4().hex}:1")
    assert failed.returncode == 2
    assert "No such image" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_every_pod_runs_the_digests_of_a_kustomization(kustomize_command, tmp_path) -> None:
    digests = {f"deepmath-{name}": f"sha256:{at:064x}" for at, name in enumerate(NAMES)}
    images = [
        {"name": name, "newName": f"127.0.0.1:5000/team/{name}", "digest": digest} for name, digest in digests.items()
    ]
    (tmp_path / "rendered.yaml").write_text(yaml.safe_dump_all(render("gpu", "gateway")))
    kustomization = {"resources": ["rendered.yaml"], "images": images}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    rendered = subprocess.run([*kustomize(), str(tmp_path)], capture_output=True, text=True, check=True)
    used = {
        container["image"] for pod in pods(list(yaml.safe_load_all(rendered.stdout))) for container in pod.containers
    }
    assert used == {f"127.0.0.1:5000/team/{name}@{digest}" for name, digest in digests.items()}
