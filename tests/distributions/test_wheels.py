"""From wheels alone, in a folder with modules of the same names as parts of the checkout, the commands work."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZipFile

import pytest
from support.evaluation_runs import OK, of_answers, write

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SERVICES = ("executor", "generator", "trainer", "gateway")
# What each distribution reads at run time, but for Python modules.
DATA = {
    "services": {
        "deepmath/py.typed",
        "deepmath/evaluation/published.json",
        *(f"deepmath/evaluation/report.{suffix}" for suffix in ("css", "js", "html.jinja")),
        *(
            f"deepmath/local_stack/tiny-math/{name}"
            for name in (
                *("config.json", "generation_config.json", "model.safetensors", "prompt.toml", "README.md"),
                *("chat_template.jinja", "tokenizer.json", "tokenizer_config.json"),
            )
        ),
    },
    "executor": {"deepmath_executor/py.typed", "deepmath_executor/seccomp_profile.json"},
    "gateway": {"deepmath_gateway/py.typed"},
    "generator": {"deepmath_generator/py.typed", "deepmath_generator/prompts/default.toml"},
    "trainer": {
        "deepmath_trainer/py.typed",
        *(f"deepmath_trainer/accelerate/{name}.yaml" for name in ("deepspeed-zero3", "fsdp")),
        *(f"deepmath_trainer/recipes/{name}.yaml" for name in ("qwen3-4b", "qwen3-4b-faithful", "tiny-math")),
    },
}
# Modules in the working folder that a careless import would take for a part of this project, or of a library.
DECOYS = ("services", "executor", "generator", "trainer", "sandbox", "tests", "email", "numpy", "vllm")


@dataclass(frozen=True)
class Installation:
    """The installed command and a working folder."""

    environment: Path
    folder: Path

    def run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment in the folder, with nothing of this process's Python settings."""
        variables = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_"))}
        command = [str(self.environment / "bin" / program), *arguments]
        return subprocess.run(command, cwd=self.folder, env=variables, capture_output=True, text=True, check=False)


@pytest.fixture
def installation(environment: Path, tmp_path: Path) -> Installation:
    folder = tmp_path / "empty"
    for name in DECOYS:
        package = folder / name
        package.mkdir(parents=True)
        (package / "__init__.py").write_text(f"raise RuntimeError('imported {name} of the working folder')\n")
    return Installation(environment, folder)


def succeeded(ended: subprocess.CompletedProcess[str]) -> str:
    assert ended.returncode == 0, ended.stderr + ended.stdout
    return ended.stdout


def wheel(name: str) -> ZipFile:
    (path,) = (ROOT / "dist").glob(f"deepmath_{name}-*.whl")
    return ZipFile(path)


@pytest.mark.parametrize("name", DATA)
def test_wheel_contains_one_package_with_its_data_and_licence_and_no_tests(environment, name: str) -> None:
    files = set(wheel(name).namelist())
    package = "deepmath" if name == "services" else f"deepmath_{name}"
    (metadata,) = {file.partition("/")[0] for file in files} - {package}
    assert metadata.startswith(f"deepmath_{name}-")
    assert files >= DATA[name]
    assert f"{metadata}/licenses/LICENSE" in files
    assert not [file for file in files if "test" in file.rpartition("/")[2] and file.endswith(".py")]


def test_seccomp_profile_in_the_wheel_is_the_deployed_one(environment) -> None:
    packaged = wheel("executor").read("deepmath_executor/seccomp_profile.json")
    assert packaged == (ROOT / "deploy" / "seccomp" / "executor.json").read_bytes()


def test_snippet_runs(installation: Installation) -> None:
    (installation.folder / "a.py").write_text("import sympy\nsympy.factorint(360)\n")
    assert "{2: 3, 3: 2, 5: 1}" in succeeded(installation.run("deepmath", "exec", "a.py"))


@pytest.mark.vllm
def test_embedded_model_solves(installation: Installation) -> None:
    solved = succeeded(installation.run("deepmath", "solve", "--json", "--temperature", "0", "Compute 847 * 36."))
    assert json.loads(solved)["answer"] == "30492"


def test_doctor_finds_every_distribution_and_the_model(installation: Installation) -> None:
    rows = [line.split() for line in succeeded(installation.run("deepmath", "doctor")).splitlines()]
    checks = {row[1]: row[0] for row in rows if len(row) > 1}
    assert {checks[f"deepmath-{name}"] for name in DATA} == {"ok"}
    assert checks["executor"] == "ok"


def test_report_shows_published_results(installation: Installation) -> None:
    run = write(installation.folder / "run", *of_answers("42", "7", benchmark="math500", snippets=[OK]))
    assert "DeepMath, published" in " ".join(succeeded(installation.run("deepmath", "report", run.name)).split())
    page = (run / "report" / "report.html").read_text()
    assert 'class="published"' in page
    assert "<style>" in page


@pytest.mark.parametrize("service", SERVICES)
def test_service_starts_its_own_package(installation: Installation, service: str) -> None:
    assert "--listen" in succeeded(installation.run("deepmath", "serve", service, "--help"))


def test_recipes_and_prompts_are_found(installation: Installation) -> None:
    code = (
        "from importlib.resources import files; "
        "print((files('deepmath_trainer') / 'recipes' / 'tiny-math.yaml').is_file(),"
        " (files('deepmath_generator') / 'prompts' / 'default.toml').is_file())"
    )
    assert succeeded(installation.run("python", "-P", "-c", code)).split() == ["True", "True"]


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize(("installed", "reason"), [("0.0.1", "installed as 0.0.1"), (None, "not installed")])
def test_service_beside_another_or_no_version_of_the_base_says_so(
    installation: Installation, tmp_path: Path, service: str, installed: str | None, reason: str
) -> None:
    """The member's wheel alone on the path, perhaps with another deepmath-services."""
    alone = tmp_path / "alone"
    wheel(service).extractall(alone)
    if installed:
        metadata = alone / f"deepmath_services-{installed}.dist-info" / "METADATA"
        metadata.parent.mkdir()
        metadata.write_text(f"Metadata-Version: 2.4\nName: deepmath-services\nVersion: {installed}\n")
    code = f"import sys; sys.path.insert(0, {str(alone)!r}); import deepmath_{service}"
    ended = installation.run("python", "-I", "-S", "-c", code)
    assert ended.returncode == 1
    assert f"deepmath-{service} " in ended.stderr
    assert reason in ended.stderr.splitlines()[-1]
