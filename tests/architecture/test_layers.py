"""Imports flow one way, through the layers of `deepmath` and on to the services, and never in a circle."""

import sys

import pytest

from .conftest import SERVICES, Tree

# The lowest first. What stands in one line may not import each other either.
LAYERS = (
    ("deepmath",),
    ("deepmath.errors", "deepmath.exit_codes", "deepmath.printable_text"),
    ("deepmath.executor", "deepmath.generator", "deepmath.trainer"),
    ("deepmath.user_files", "deepmath.owned_folders", "deepmath.process_identity"),
    ("deepmath.rpc",),
    ("deepmath.observability",),
    ("deepmath.access",),
    ("deepmath.serving",),
    ("deepmath.clients",),
    ("deepmath.sandbox",),
    ("deepmath.grading",),
    ("deepmath.dialects",),
    ("deepmath.data",),
    ("deepmath.evaluation",),
    ("deepmath.local_stack",),
    ("deepmath.sdk",),
    ("deepmath.integrations",),
    ("deepmath.cli",),
    tuple(f"deepmath_{service}" for service in SERVICES),
)
HEIGHT = {package: height for height, packages in enumerate(LAYERS) for package in packages}
# All that code in the hostile process may import of ours.
INSIDE = "deepmath.sandbox.inside"
BESIDE_INSIDE = ("deepmath.sandbox.isolation", "deepmath.rpc.wire_values")


def test_every_package_has_its_layer(tree: Tree) -> None:
    assert {module.package for module in tree.modules.values()} <= HEIGHT.keys()


def test_packages_import_lower_layers_only(tree: Tree) -> None:
    # The generator's contract has results of the executor's.
    upwards = {
        f"{module.name} imports {imported}"
        for module in tree.modules.values()
        for imported in tree.imported(module)
        if tree.modules[imported].package != module.package
        and HEIGHT[tree.modules[imported].package] >= HEIGHT[module.package]
        and module.package.removesuffix("v1") not in LAYERS[2]
    }
    assert upwards == set()


@pytest.mark.parametrize("service", SERVICES)
def test_service_imports_no_other_service(tree: Tree, service: str) -> None:
    others = [f"deepmath_{other}" for other in SERVICES if other != service]
    assert tree.importers(*others, within=f"deepmath_{service}") == set()


def test_modules_import_each_other_in_no_circle(tree: Tree) -> None:
    left = {name: tree.imported(module) for name, module in tree.modules.items()}
    while leaves := {name for name, imported in left.items() if not imported}:
        left = {name: imported - leaves for name, imported in left.items() if name not in leaves}
    roots = set(left)
    while roots:  # leave out what merely imports a circle
        roots = left.keys() - {name for imported in left.values() for name in imported}
        left = {name: imported for name, imported in left.items() if name not in roots}
    assert left == {}


def imported_inside(tree: Tree) -> set[str]:
    """Return the modules of ours outside `inside` that the hostile process imports."""
    inside = [module for name, module in tree.modules.items() if name.startswith(INSIDE)]
    found = {imported for module in inside for imported in tree.imported(module)}
    return {name for name in found if not name.startswith(INSIDE)}


def is_shared(name: str) -> bool:
    """Whether a module lies beside `inside` and `supervisor`, for both."""
    return name.startswith("deepmath.sandbox.") and name.count(".") == 2


def test_hostile_process_runs_a_short_list_of_our_modules(tree: Tree) -> None:
    assert all(is_shared(name) or name.startswith(BESIDE_INSIDE) for name in imported_inside(tree))


def test_what_both_sides_of_a_sandbox_share_imports_the_standard_library_only(tree: Tree) -> None:
    shared = [tree.modules[name] for name in imported_inside(tree) if is_shared(name)]
    assert shared
    for module in shared:
        foreign = {source for source, _ in module.imports() if source.partition(".")[0] not in sys.stdlib_module_names}
        assert all(map(is_shared, foreign)), module.name


def test_nothing_imports_the_code_of_the_hostile_process(tree: Tree) -> None:
    importers = {
        module.name
        for module in tree.modules.values()
        if any(imported.startswith(INSIDE) for imported in tree.imported(module))
    }
    assert all(name.startswith(INSIDE) for name in importers)


def test_stub_folders_hold_nothing_but_stubs(tree: Tree) -> None:
    for name, module in tree.modules.items():
        if module.package in LAYERS[2]:
            file = module.path.name
            assert file == "__init__.py" or file.endswith(("_pb2.py", "_pb2_grpc.py")), name
