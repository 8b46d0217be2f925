"""The tree as the tests of the architecture see it: modules, their imports, their classes."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SERVICES = tuple(sorted(path.parent.name for path in (ROOT / "services").glob("*/pyproject.toml")))
ROOTS = (ROOT, *(ROOT / "services" / service for service in SERVICES))


@dataclass(frozen=True)
class Module:
    """A module of ours."""

    name: str
    path: Path

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.path.read_text())

    @property
    def package(self) -> str:
        """`deepmath.sandbox` for `deepmath.sandbox.isolation.landlock`; the service's package for a service."""
        return ".".join(self.name.split(".")[: 2 if self.name.startswith("deepmath.") else 1])

    def imports(self) -> Iterator[tuple[str, str]]:
        """Yield module and name of each import, local ones and those for type checking too; `name` may be empty."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from ((alias.name, "") for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert not node.level, f"{self.path} has a relative import"
                yield from ((node.module or "", alias.name) for alias in node.names)

    def classes(self) -> Iterator[str]:
        yield from (node.name for node in ast.walk(self.tree) if isinstance(node, ast.ClassDef))


class Tree:
    """All modules of the five distributions by name, generated stubs included."""

    def __init__(self) -> None:
        self.modules: dict[str, Module] = {}
        for root in ROOTS:
            for path in sorted(path for path in root.glob("deepmath*/**/*.py")):
                parts = path.relative_to(root).with_suffix("").parts
                name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
                self.modules[name] = Module(name, path)

    def imported(self, module: Module) -> set[str]:
        """The modules of ours that `module` imports."""
        found = set()
        for source, name in module.imports():
            whole = f"{source}.{name}"
            if whole in self.modules:
                found.add(whole)
            elif source in self.modules:
                found.add(source)
        return found - {module.name}

    def importers(self, *libraries: str, within: str = "deepmath") -> set[str]:
        """The modules below `within` that import one of `libraries` or something in them."""
        return {
            module.name
            for module in self.modules.values()
            if module.name.startswith(within)
            and any(
                source == library or source.startswith(f"{library}.")
                for source, _ in module.imports()
                for library in libraries
            )
        }


@pytest.fixture(scope="session")
def tree() -> Tree:
    return Tree()
