"""Every place where text leaves for a person's eyes is known, and makes the text printable."""

import ast
from collections.abc import Iterator

import pytest

from .conftest import Module, Tree

CLI = "deepmath.cli"
STREAMS, CONSOLE = "deepmath.cli.output_streams", "deepmath.cli.text_console"

# Modules that write to a standard stream, and why what they write needs no more.
WRITERS = {
    "deepmath.printable_text": "print_error makes a line printable",
    "deepmath.observability.standard_streams": "announce and print_last_words make a line printable",
    "deepmath.observability.logs": "its formatters make each line printable",
    "deepmath.sandbox.supervisor.isolation_probe": "prints a number, in a process of its own",
    "deepmath.grading.verifier_worker": "prints JSON to its parent",
    "deepmath_executor.__main__": "--check prints JSON of the executor's own findings",
    "deepmath_executor.audit": "JSON in ASCII",
    "deepmath_generator.vllm_patches.startup_report": "writes JSON to a file",
}
# Inside the sandbox the standard streams are pipes to the supervisor.
HOSTILE = "deepmath.sandbox.inside"
# What renders or parses markup whatever the console's settings.
PARSES_MARKUP = {"from_markup", "from_ansi", "render_markup", "Spinner", "Prompt", "Confirm", "Status", "Markdown"}
LOG_SETUP = {"basicConfig", "StreamHandler", "FileHandler", "dictConfig", "RichHandler"}


def name_of(node: ast.expr) -> str:
    """Return `print` for `print(...)` and for `console.print(...)`, and `sys.stdout` as such."""
    if isinstance(node, ast.Attribute):
        return f"sys.{node.attr}" if isinstance(node.value, ast.Name) and node.value.id == "sys" else node.attr
    return node.id if isinstance(node, ast.Name) else ""


def calls(module: Module) -> Iterator[ast.Call]:
    yield from (node for node in ast.walk(module.tree) if isinstance(node, ast.Call))


def writes(module: Module) -> bool:
    """Whether a module prints, or uses a standard stream or its descriptor."""
    return any(
        (isinstance(call.func, ast.Name) and call.func.id == "print")
        or name_of(call.func) in {"echo", "secho", "style", "out", "print_exc", "print_exception", "rich_print"}
        for call in calls(module)
    ) or any(
        name_of(node) in {"sys.stdout", "sys.stderr", "sys.__stdout__", "sys.__stderr__"}
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Attribute)
    )


def test_services_and_libraries_write_where_it_is_known(tree: Tree) -> None:
    writers = {name for name, module in tree.modules.items() if writes(module)}
    beyond = {name for name in writers if not name.startswith((CLI, HOSTILE))}
    assert beyond <= WRITERS.keys()


def test_command_line_prints_to_protected_streams_only(tree: Tree) -> None:
    """`protect_streams` is the first thing that the command does, and nothing goes around it."""
    for name, module in tree.modules.items():
        if not name.startswith(CLI) or name == STREAMS:
            continue
        used = {name_of(node) for node in ast.walk(module.tree) if isinstance(node, ast.Attribute)}
        assert not used & {"sys.__stdout__", "sys.__stderr__", "buffer", "raw", "writelines"}, name
        functions = {name_of(call.func) for call in calls(module)}
        assert not functions & {"echo", "secho", "out", "print_exc", "print_exception"}, name
        assert not any(
            name_of(call.func) == "write" and "sys.std" in ast.unparse(call.func) for call in calls(module)
        ), name
        assert ("raw_stream" in functions) <= (name == CONSOLE), name
    order = [name_of(call.func) for call in calls(tree.modules["deepmath.cli.main"])]
    assert order.index("protect_streams") < order.index("app")


def test_only_the_text_console_is_a_console(tree: Tree) -> None:
    for name in tree.importers("rich", within=CLI):
        module = tree.modules[name]
        imported = {imported for source, imported in module.imports() if source.startswith("rich")}
        assert not imported & {"markup", "print", "escape", "get_console", "inspect", *PARSES_MARKUP}, name
        assert ("Console" in imported) <= (name == CONSOLE), name
        assert not {name_of(call.func) for call in calls(module)} & PARSES_MARKUP, name


@pytest.mark.parametrize("made", ["Text", "Panel", "Frame", "TextColumn", "Rule", "rule", "Syntax", "Table", "add_row"])
def test_renderables_get_no_text_that_rich_would_parse(tree: Tree, made: str) -> None:
    for name in tree.importers("rich", within=CLI):
        for call in calls(tree.modules[name]):
            if name_of(call.func) == made and name != CONSOLE:
                assert renders_text_only(made, call), f"{name}, line {call.lineno}: {ast.unparse(call)}"


def renders_text_only(made: str, call: ast.Call) -> bool:
    """Whether a call passes no `str` that is not constant where rich parses or prints one."""
    options = {keyword.arg: keyword.value for keyword in call.keywords}
    if made == "TextColumn":
        return ast.unparse(options.get("markup", ast.Constant(True))) == "False"
    title = options.get("title")
    if title is not None and not (isinstance(title, ast.Call) and name_of(title.func) in {"line", "text", "_cut"}):
        return False
    if made == "rule":
        return isinstance(call.args[0], ast.Call) and name_of(call.args[0].func) == "line"
    if made == "Text":
        return isinstance(call.args[0], ast.Constant) or name_of(getattr(call.args[0], "func", call)) == "sparkline"
    return True


def test_logging_is_set_up_in_one_place(tree: Tree) -> None:
    for name, module in tree.modules.items():
        if name != "deepmath.observability.logs":
            assert not {name_of(call.func) for call in calls(module)} & LOG_SETUP, name


def test_json_for_people_is_written_by_one_function(tree: Tree) -> None:
    """`json.dumps` leaves DEL and, without `ensure_ascii`, all controls from U+0080 as they are."""
    for name, module in tree.modules.items():
        for call in calls(module):
            if name_of(call.func) in {"dumps", "dump", "JSONEncoder"} and name != "deepmath.printable_text":
                raw = any(keyword.arg == "ensure_ascii" for keyword in call.keywords)
                assert not (raw and name.startswith(CLI)), f"{name}, line {call.lineno}"
