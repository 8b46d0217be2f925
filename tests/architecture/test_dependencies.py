"""Heavy libraries stay where they belong, and `*_patches` alone use private parts of libraries."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from .conftest import Module, Tree

SMOLAGENTS = "deepmath.integrations.smolagents"
HEAVY = ("torch", "vllm", "trl", "transformers", "numpy", "sympy")
# Libraries whose private parts we know something of.
PATCHED = ("accelerate", "grpc", "openinference", "peft", "smolagents", "transformers", "trl", "vllm")


def is_patch(module: Module) -> bool:
    return any(part.endswith("_patches") for part in module.name.split("."))


def may_be_private(module: Module) -> bool:
    return is_patch(module) or module.path.name.endswith("_pb2_grpc.py")


def private_imports(module: Module) -> Iterator[str]:
    for source, name in module.imports():
        library, *rest = (*source.split("."), name)
        if library in PATCHED and any(part.startswith("_") for part in rest):
            yield f"{module.name}: {source} {name}"


def loaded(libraries: set[str], *modules: str) -> str:
    """Import the modules in a new interpreter and return which of the libraries that loads."""
    code = f"import sys, {', '.join(modules)}; print(sorted({libraries!r} & set(sys.modules)))"
    return subprocess.check_output([sys.executable, "-P", "-c", code], text=True).strip()


def test_shared_code_is_light(tree: Tree) -> None:
    # What runs in the sandbox of a comparison or a scorer imports sympy, at the latest possible moment.
    sandboxed = tuple(f"deepmath.grading.{name}" for name in ("sympy_patches", "symbolic_comparison", "code_refusal"))
    compared = {name for name in tree.importers(*HEAVY) if name.startswith(sandboxed)}
    lazy = {"deepmath.rpc.wire_values"}  # where an array comes
    inside = {name for name in tree.importers(*HEAVY) if name.startswith("deepmath.sandbox.inside")}
    light = {name for name in tree.importers(*HEAVY, within="deepmath.") if not name.startswith(SMOLAGENTS)}
    assert light - inside <= compared | lazy
    assert tree.importers("deepmath.grading.sandboxed_comparison") == set()


def test_smolagents_is_imported_by_its_integration_alone(tree: Tree) -> None:
    importers = tree.importers("smolagents")
    assert importers
    assert all(name.startswith(SMOLAGENTS) for name in importers)


def test_integration_of_smolagents_is_imported_by_nothing_else(tree: Tree) -> None:
    assert all(name.startswith(SMOLAGENTS) for name in tree.importers(SMOLAGENTS))


def test_integration_of_smolagents_loads_no_engine(tree: Tree) -> None:
    assert tree.importers("vllm", "trl", "torch", "transformers", within=SMOLAGENTS) == set()


@pytest.mark.parametrize(
    ("library", "package", "module"),
    [("vllm", "deepmath_generator", "vllm_engine"), ("trl", "deepmath_trainer", "grpo_trainer")],
)
def test_engine_is_imported_in_one_module_beside_its_patches(
    tree: Tree, library: str, package: str, module: str
) -> None:
    assert {name for name in tree.importers(library) if not is_patch(tree.modules[name])} == {f"{package}.{module}"}


def test_private_parts_of_libraries_are_imported_by_patches_only(tree: Tree) -> None:
    reaches = [
        reach for module in tree.modules.values() if not may_be_private(module) for reach in private_imports(module)
    ]
    assert reaches == []


def test_executor_imports_no_torch(tree: Tree) -> None:
    assert tree.importers("torch", "vllm", "transformers", within="deepmath_executor") == set()


def test_service_of_the_trainer_loads_no_torch() -> None:
    modules = ("__main__", "service", "run_registry", "run_validation")
    names = [f"deepmath_trainer.{module}" for module in modules]
    assert loaded({"torch", "trl", "transformers", "datasets"}, *names) == "[]"


@pytest.mark.parametrize(
    "module",
    [
        "deepmath.cli.main",
        "deepmath.clients",
        "deepmath.sandbox",
        "deepmath.serving.grpc_server",
        "deepmath.local_stack.stack",
        "deepmath.sdk",
        "deepmath.integrations.jupyter.sandbox_kernel",
        "deepmath.integrations.mcp.stdio_server",
        "deepmath.integrations.trl",
    ],
)
def test_light_module_loads_nothing_heavy(module: str) -> None:
    assert loaded({*HEAVY, "smolagents"}, module) == "[]"


def test_sandbox_library_loads_no_grpc() -> None:
    assert loaded({"grpc"}, "deepmath.sandbox") == "[]"


def test_help_loads_neither_grpc_nor_pydantic_nor_rich() -> None:
    assert loaded({"grpc", "pydantic", "rich"}, "deepmath.cli.main") == "[]"
