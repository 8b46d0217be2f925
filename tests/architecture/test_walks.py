"""The walks in CONTRIBUTING name functions that exist, at most ten each."""

import ast
import re

from .conftest import ROOT

STEP = re.compile(r"`([\w/]+\.py):([\w.]+)`")
WALKS = (ROOT / "CONTRIBUTING.md").read_text().partition("## Three walks")[2].partition("\n## ")[0].split("\n### ")[1:]


def functions(source: str) -> set[str]:
    found = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            methods = (part for part in node.body if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef))
            found |= {f"{node.name}.{method.name}" for method in methods}
    return found


def test_there_are_three_walks_of_at_most_ten_steps() -> None:
    assert len(WALKS) == 3
    assert all(5 <= len(STEP.findall(walk)) <= 10 for walk in WALKS)


def test_every_step_of_a_walk_exists() -> None:
    for walk in WALKS:
        for file, name in STEP.findall(walk):
            assert name in functions((ROOT / file).read_text()), f"{file}:{name}"
