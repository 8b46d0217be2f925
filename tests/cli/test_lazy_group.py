"""The group of commands: help, completion and suggestions without loading commands, and missing libraries."""

import os
import resource
import subprocess
import sys

import pytest
from typer.main import get_command

from deepmath import __version__
from deepmath.cli.main import COMMANDS

# Imports that make a command slow to start.
HEAVY = ("asyncio", "grpc", "pydantic", "rich", "google.protobuf")
RUN = "from deepmath.cli.main import main; main()"


def command_line(*arguments: str, code: str = RUN, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "200", **environment}
    )


def completions(line: str) -> set[str]:
    words = {"_DEEPMATH_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(line.split()) - 1)}
    code = f"import sys; sys.argv[0] = 'deepmath'; {RUN}"
    return set(command_line(code=code, **words).stdout.split())


def test_help_loads_no_command_and_takes_less_than_half_a_second_of_cpu_time() -> None:
    code = (
        "import sys\nfrom deepmath.cli.main import main\nsys.argv = ['deepmath', '--help']\n"
        f"try:\n    main()\nfinally:\n    print('loaded', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    out = command_line(code=code).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert out.splitlines()[-1] == "loaded []"
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.5


@pytest.mark.parametrize("name", COMMANDS)
def test_summary_is_the_first_sentence_of_the_commands_help(name: str) -> None:
    module = __import__(f"deepmath.cli.commands.{name}", fromlist=["app"])
    text = " ".join((get_command(module.app).help or "").split())
    assert text.startswith(COMMANDS[name])


def test_unknown_command_suggests_similar_ones() -> None:
    ended = command_line("slove")
    assert ended.returncode == 2
    assert "No such command 'slove'. Did you mean 'solve'" in ended.stderr


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("deepmath ev", {"eval"}),
        ("deepmath ex", {"exec"}),
        ("deepmath solve --tem", {"--temperature"}),
        ("deepmath certs i", {"init", "issue"}),
    ],
)
def test_commands_and_options_are_completed(line: str, expected: set[str]) -> None:
    assert completions(line) == expected


@pytest.mark.parametrize(
    ("library", "arguments", "source"),
    [
        ("cryptography", ["certs", "init", "x"], "the extra `certs`"),
        ("jinja2", ["report", "x"], "the extra `evaluation`"),
        ("huggingface_hub", ["push", "x", "y/z"], "deepmath-trainer"),
        ("jupyter_client", ["kernel", "install"], "the extra `jupyter`"),
        ("mcp", ["mcp"], "the extra `mcp`"),
    ],
)
def test_missing_library_is_named_with_its_source(library: str, arguments: list[str], source: str) -> None:
    ended = command_line(*arguments, code=f"import sys; sys.modules[{library!r}] = None; {RUN}")
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"deepmath: {arguments[0]} needs {library}, which is not installed")
    assert source in ended.stderr
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments", [["serve", "executor"], ["exec", "-"]])
def test_service_that_is_not_installed_is_reported_without_an_index(arguments: list[str]) -> None:
    ended = command_line(*arguments, code=f"import sys; sys.modules['deepmath_executor'] = None; {RUN}")
    assert ended.returncode == 1
    assert ended.stderr == (
        f"deepmath: the executor service is not installed: install deepmath-executor {__version__} from the checkout "
        "(`make install`) or from its wheel; it is not on a package index\n"
    )
