"""Paths that a user names are expanded by one function, in every option and setting."""

import ast

from .conftest import Tree


def test_one_function_expands_home_directories(tree: Tree) -> None:
    callers = {
        name
        for name, module in tree.modules.items()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Attribute) and node.attr in {"expanduser", "expandvars", "home"}
    }
    assert callers - {name for name in callers if name.startswith("deepmath.sandbox.inside")} == {"deepmath.user_files"}


def test_every_path_of_the_command_line_is_expanded(tree: Tree) -> None:
    found = 0
    for name, module in tree.modules.items():
        for node in ast.walk(module.tree) if name.startswith("deepmath.cli") else ():
            if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "Annotated":
                kind, *options = map(ast.unparse, node.slice.elts if isinstance(node.slice, ast.Tuple) else ())
                if "Path" in kind:
                    found += 1
                    assert "PATH" in " ".join(options), f"{name}, line {node.lineno}"
    assert found >= 10


def test_every_path_in_a_service_configuration_is_expanded(tree: Tree) -> None:
    configurations = [name for name in tree.modules if name.endswith((".config", ".service_config", ".run_config"))]
    assert len(configurations) >= 5
    for name in configurations:
        for node in ast.walk(tree.modules[name].tree):
            if isinstance(node, ast.AnnAssign):
                kinds = {part.id for part in ast.walk(node.annotation) if isinstance(part, ast.Name)}
                assert "Path" not in kinds, f"{name}, line {node.lineno}"
