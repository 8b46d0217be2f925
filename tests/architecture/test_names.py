"""A name says where something is: no module's and no class's stands for two things."""

from collections import defaultdict
from pathlib import Path

from .conftest import ROOT, Module, Tree

# Parts that play the same role in each service.
PARALLEL = {"__init__", "__main__", "admission", "config", "metrics", "service"}


def other_programs() -> list[Path]:
    return sorted([*(ROOT / "benchmarks").glob("*.py"), *(ROOT / "models").rglob("*.py")])


def test_no_two_modules_have_one_name(tree: Tree) -> None:
    places = defaultdict(list)
    for module in tree.modules.values():
        if not module.path.stem.endswith(("_pb2", "_pb2_grpc")):
            places[module.path.stem].append(module.name)
    assert {name: found for name, found in places.items() if len(found) > 1 and name not in PARALLEL} == {}


def test_no_two_classes_have_one_name(tree: Tree) -> None:
    places = defaultdict(list)
    programs = [Module(str(path.relative_to(ROOT)), path) for path in other_programs()]
    for module in (*tree.modules.values(), *programs):
        if not module.path.stem.endswith(("_pb2", "_pb2_grpc")):
            for name in module.classes():
                places[name].append(module.name)
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_top_level_packages_have_no_common_noun_for_a_name(tree: Tree) -> None:
    assert {name.partition(".")[0] for name in tree.modules} == {
        "deepmath",
        "deepmath_executor",
        "deepmath_gateway",
        "deepmath_generator",
        "deepmath_trainer",
    }
