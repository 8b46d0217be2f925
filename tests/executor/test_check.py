"""`--check` in any environment: settings that only serving needs do not stop it. In the image it needs no option."""

import json

import pytest
from deepmath_executor.config import ExecutorConfig
from support.docker_engine import HARDENED, docker

from deepmath.exit_codes import EXIT_USAGE
from deepmath.serving.service_config import load

UNUSABLE = {
    "LISTEN": "0.0.0.0:7301",
    "TLS": "/nonexistent",
    "TOKENS": "/nonexistent",
    "TOKEN_FILE": "/nonexistent",
    "HEALTH_LISTEN": "nowhere",
    "METRICS_LISTEN": "nowhere",
    "OTLP": "collector",
}


@pytest.fixture(params=[*UNUSABLE, "all"])
def unusable(request, monkeypatch) -> None:
    for name, value in UNUSABLE.items():
        if request.param in (name, "all"):
            monkeypatch.setenv(f"DEEPMATH_EXECUTOR_{name}", value)


def test_settings_of_serving_do_not_stop_a_check(unusable) -> None:
    assert load(ExecutorConfig, "test", ["--check"]).check


def test_check_of_the_environment_counts_too(unusable, monkeypatch) -> None:
    monkeypatch.setenv("DEEPMATH_EXECUTOR_CHECK", "true")
    assert load(ExecutorConfig, "test", []).check


@pytest.mark.parametrize("options", [[], ["--no-check"]])
def test_settings_of_serving_stop_a_service(unusable, options: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        load(ExecutorConfig, "test", options)
    assert ended.value.code == EXIT_USAGE


@pytest.mark.parametrize("options", [["--check", "--memory-bytes=0"], ["--check", "--level=none"]])
def test_settings_of_the_sandboxes_are_validated(options: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        load(ExecutorConfig, "test", options)
    assert ended.value.code == EXIT_USAGE


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), HARDENED], ids=["plain", "hardened"])
def test_check_in_the_image_lists_the_layers(image, options: tuple[str, ...]) -> None:
    ended = docker("run", "--rm", "--network=none", *options, image, "--check")
    assert ended.returncode == 0, ended.stderr
    in_force = {layer["name"]: layer["in_force"] for layer in map(json.loads, ended.stdout.splitlines())}
    assert in_force["landlock"]
    assert in_force["seccomp"]
    assert not in_force["user_namespace"]
