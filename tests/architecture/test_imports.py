"""Imports flow one way, and what is heavy stays where it belongs."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(path for folder in ("deepmath", "services") for path in (ROOT / folder).rglob("*.py"))
SMOLAGENTS = "deepmath/integrations/smolagents/"
SERVICES = sorted(path.name for path in (ROOT / "services").iterdir() if (path / "__init__.py").is_file())


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def importers(*modules: str, within: str = "") -> set[str]:
    """The files below `within` that import one of the modules or something in them."""
    return {
        str(path.relative_to(ROOT))
        for path in SOURCES
        if str(path.relative_to(ROOT)).startswith(within)
        and any(name == module or name.startswith(f"{module}.") for name in imported(path) for module in modules)
    }


def test_shared_code_imports_no_service() -> None:
    assert importers("services", within="deepmath/") == set()


@pytest.mark.parametrize("service", SERVICES)
def test_service_imports_no_other(service: str) -> None:
    others = [f"services.{other}" for other in SERVICES if other != service]
    assert importers(*others, within=f"services/{service}/") == set()


def test_shared_code_is_light() -> None:
    programs = {"deepmath/grading/verifier_worker.py"}  # run by path, imported by nobody
    lazy = {"deepmath/rpc/wire_values.py"}  # where an array comes
    heavy = ("torch", "vllm", "trl", "transformers", "numpy", "sympy")
    in_light_code = {path for path in importers(*heavy, within="deepmath/") if not path.startswith(SMOLAGENTS)}
    assert in_light_code <= programs | lazy
    assert importers("deepmath.grading.verifier_worker") == set()


def test_smolagents_is_imported_by_its_integration_alone() -> None:
    files = importers("smolagents")
    assert files
    assert all(path.startswith(SMOLAGENTS) for path in files)


def test_integration_of_smolagents_is_imported_by_nothing_else() -> None:
    assert all(path.startswith(SMOLAGENTS) for path in importers("deepmath.integrations"))


def test_integration_of_smolagents_loads_no_engine() -> None:
    assert importers("vllm", "trl", "torch", "transformers", within=SMOLAGENTS) == set()


def test_vllm_is_imported_by_the_engine_and_by_what_runs_in_its_processes() -> None:
    files = ("engine", "vllm_process", "wakeup")
    assert importers("vllm") == {f"services/generator/{file}.py" for file in files}


def test_trl_is_imported_in_one_file() -> None:
    assert importers("trl") == {"services/trainer/deepmath_trainer/grpo_trainer.py"}


def test_executor_imports_no_torch() -> None:
    assert importers("torch", "vllm", "transformers", within="services/executor/") == set()


def test_service_of_the_trainer_loads_no_torch() -> None:
    modules = "deepmath_trainer.__main__, deepmath_trainer.service, deepmath_trainer.run_registry, deepmath_trainer.run_validation"
    code = f"import sys, {modules}; print(sorted({{'torch', 'trl', 'transformers', 'datasets'}} & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


@pytest.mark.parametrize(
    "module", ["deepmath.cli.main", "deepmath.clients", "deepmath.serving.server", "deepmath.local_stack.stack"]
)
def test_light_module_loads_nothing_heavy(module: str) -> None:
    heavy = "{'torch', 'vllm', 'trl', 'transformers', 'numpy', 'sympy', 'smolagents'}"
    code = f"import sys, {module}; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_help_loads_neither_grpc_nor_pydantic_nor_rich() -> None:
    code = "import sys, deepmath.cli.main; print(sorted({'grpc', 'pydantic', 'rich'} & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
