"""The commands and programs in the pages of the documentation run as written, against the real stack.

Replaced are only the addresses and file names that stand for the reader's own (`SUBSTITUTIONS`). Commands that would
start a stack of their own use a shared one.
"""

import ast
import asyncio
import os
import re
import shutil
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.docker_engine import IMAGE
from support.documented_commands import PAGES, ROOT, SHELL, Block, blocks, inline_commands
from support.ports import free_ports
from typer.main import get_command

from deepmath.cli.main import COMMANDS
from deepmath.local_stack.stack import EMBEDDED_MODEL
from deepmath.observability.log_line import message_of

SMALL_EVALUATION = "--samples 1 --limit 2"
SMALL_RUN = (
    "rollout.groups=2 rollout.samples=4 optimizer.micro_batch=8 optimizer.steps=1 evaluation.problems=2 --name NAME"
)
CONNECT = 'connect("GENERATOR", executor="EXECUTOR")'
# By page: what stands for something of the reader's, and what it is here. GENERATOR and EXECUTOR are addresses.
SUBSTITUTIONS: dict[str, list[tuple[str, str]]] = {
    "README.md": [
        ("127.0.0.1:50051", "EXECUTOR"),
        ("connect()", CONNECT),
        ('--samples 8 "…"', '--samples 2 "What is 12 * 34?"'),
        ("deepmath solve", "deepmath solve --generator GENERATOR"),
        ("deepmath exec", "deepmath exec --executor EXECUTOR"),
        ("deepmath train ", f"deepmath train \"generators=['GENERATOR']\" {SMALL_RUN} "),
        ("--benchmark math500 --model …", f"--generator GENERATOR {SMALL_EVALUATION} --output evaluation"),
        ("FOLDER", "evaluation"),
    ],
    "calls.md": [
        ("executor.example", "localhost"),
        ("generator.example", "localhost"),
        ("0.0.0.0:7301", "127.0.0.1:PORT1"),
        ("0.0.0.0:7302", "127.0.0.1:PORT2"),
        (":7301", ":PORT1"),
        (":7302", ":PORT2"),
        ("--model …", f"--model {EMBEDDED_MODEL} --dtype float32 --eager"),
        ('"…"', '"What is 12 * 34?"'),
    ],
    "evaluation.md": [
        ("--benchmark math500 --model MODEL ", f"--generator GENERATOR {SMALL_EVALUATION} --output evaluation "),
        ("deepmath eval … --plan", "deepmath eval --generator GENERATOR --plan"),
        ("FOLDER…", "evaluation"),
    ],
    "executor.md": [("127.0.0.1:7301", "127.0.0.1:PORT1")],
    "python.md": [("connect()", CONNECT), ("connect_async()", CONNECT.replace("connect", "connect_async"))],
    "observability.md": [("0.0.0.0:9301", "127.0.0.1:PORT1"), ("http://collector:4317", "http://127.0.0.1:PORT2")],
    # A configuration is read, checked and completed; training is README.md's.
    "trainer.md": [
        ("FILE", "run.yaml"),
        ("deepmath train  ", "deepmath train --dry-run "),
        ("optimizer.steps=50", "optimizer.steps=50 --dry-run"),
    ],
}
# What needs a cluster only at its end: objects are rendered and created, but not sent. By what it replaces.
WITHOUT_A_CLUSTER = {
    r"kubectl apply --kustomize": "kubectl kustomize",
    r"\| kubectl apply --filename -": "> /dev/null",
    r"(kubectl (?:--namespace \S+ )?create )(?!(?s:.)*--dry-run)": r"\1--dry-run=client --output name ",
}
# Files of the reader's.
INPUTS = {
    "problems.jsonl": '{"problem": "What is 12 * 34?", "answer": "408"}\n',
    "cells.py": "x = 6\n# %%\nx * 7\n",
    "pairs.jsonl": '{"gold": "1/2", "answer": "0.5"}\n',
    "run.yaml": "model: tiny-math\n",
}
# What Python blocks have from the text around them.
PRELUDES = {
    "generator.md": "from deepmath.clients import GeneratorClient\n"
    "from deepmath.generator.v1 import generator_pb2 as pb\naddress = 'GENERATOR'\n",
}
SERVERS = ("deepmath serve ", "python -m deepmath_executor", "docker run --rm --read-only")
SERVES = "serving on "
LONGEST_S = 600  # on a busy machine; a minute on a quiet one
PARTS = {page.name: list(blocks(page)) for page in PAGES}
assert len(PARTS) == len(PAGES), "two pages of one name"


def is_server(command: str) -> bool:
    return command.startswith(SERVERS) and "--check" not in command


def is_container(command: str) -> bool:
    return command.startswith("docker ")


@pytest.mark.parametrize("block", [block for page in PARTS.values() for block in page], ids=str)
def test_block_says_what_it_is_and_every_mark_excludes_something(block: Block) -> None:
    assert not block.is_unlabelled_command, "give the block the language `sh`"
    if block.language in SHELL:
        assert block.stale_marks == []


@pytest.mark.parametrize("page", PARTS)
def test_every_substitution_is_needed(page: str) -> None:
    text = "\n".join(block.text for block in PARTS[page])
    for number, (old, _) in enumerate(SUBSTITUTIONS.get(page, [])):
        assert old in text, number


class Reader:
    """Someone who follows a page in a folder: environment variables last, and servers run until the end."""

    def __init__(self, folder: Path, page: str, values: dict[str, str]) -> None:
        self.folder = folder
        ports = free_ports(2)
        self._values = values | {
            **{"PORT1": str(ports[0]), "PORT2": str(ports[1])},
        }
        self._substitutions = SUBSTITUTIONS.get(page, [])
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self._environment = os.environ | {"PATH": path, "HF_HUB_OFFLINE": "1"}
        self._servers: list[asyncio.subprocess.Process] = []
        for name in ("deploy", "docs", "examples", ".venv", "compose.yaml"):
            (folder / name).symlink_to(ROOT / name)
        (folder / "deepmath").symlink_to(ROOT)
        for name, content in INPUTS.items():
            (folder / name).write_text(content)

    def adapt(self, text: str) -> str:
        for old, new in self._substitutions:
            text = text.replace(old, new)
        for name, value in self._values.items():
            text = text.replace(name, value)
        for pattern, new in WITHOUT_A_CLUSTER.items():
            text = re.sub(pattern, new, text)
        return text

    def write(self, block: Block) -> None:
        """Write a YAML file that is shown, or add to it what a later block shows of it."""
        path = self.folder / block.file
        path.parent.mkdir(parents=True, exist_ok=True)
        content = yaml.safe_load(path.read_text()) if path.exists() else {}
        for name, value in yaml.safe_load(self.adapt(block.text)).items():
            content[name] = content[name] + value if isinstance(content.get(name), list) else value
        path.write_text(yaml.safe_dump(content))

    async def run(self, command: str) -> None:
        """Run a command as in one shell; start a server and wait until it serves."""
        command = self.adapt(command)
        if is_server(command):
            await self._serve(command)
            return
        script = f"{command}\nstatus=$?\nenv -0 > {self.folder}/.environment\nexit $status"
        process = await self._start("bash", "-c", script)
        out, _ = await process.communicate()
        assert process.returncode == 0, f"{command}\n{out.decode()}"
        saved = (self.folder / ".environment").read_text().split("\0")[:-1]
        self._environment = dict(line.split("=", 1) for line in saved)

    async def run_python(self, program: str) -> str:
        process = await self._start(sys.executable, "-c", program)
        out, _ = await process.communicate()
        assert process.returncode == 0, f"{program}\n{out.decode()}"
        return out.decode()

    async def _serve(self, command: str) -> None:
        process = await self._start("bash", "-c", f"exec {command}")
        self._servers.append(process)
        assert process.stdout
        output = []
        while not message_of(line := await process.stdout.readline()).startswith(SERVES):
            output.append(line.decode())
            assert line, f"{command}\n{''.join(output)}"
        asyncio.create_task(process.stdout.read())  # noqa: RUF006 - ends with the server

    async def _start(self, *command: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *command,
            cwd=self.folder,
            env=self._environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )

    async def close(self) -> None:
        """Stop the servers, each of which must end well."""
        for server in reversed(self._servers):
            with suppress(ProcessLookupError):
                server.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            assert [await server.wait() for server in self._servers] == [0] * len(self._servers)


async def follow(reader: Reader, page: Sequence[Block | str]) -> None:
    """Write the files that are shown, and run the commands, in their order."""
    try:
        async with asyncio.timeout(LONGEST_S):
            for part in page:
                if isinstance(part, Block):
                    reader.write(part)
                else:
                    await reader.run(part)
    finally:
        await reader.close()


def needs_a_generator(page: str) -> bool:
    texts = [new for _, new in SUBSTITUTIONS.get(page, [])] + [PRELUDES.get(page, "")]
    return any("GENERATOR" in text for text in texts)


def parts_of(page: str) -> list[Block | str]:
    """The blocks that show a file, and the commands."""
    parts: list[Block | str] = []
    for block in PARTS[page]:
        if block.file:
            parts.append(block)
        elif block.language in SHELL:
            parts += [command for command in block.run if not is_container(command)]
    return parts


def commands_of(page: str) -> list[str]:
    return [part for part in parts_of(page) if isinstance(part, str)]


RUN = [page for page in PARTS if commands_of(page)]


@pytest.mark.slow
@pytest.mark.timeout(LONGEST_S + 100)
@pytest.mark.parametrize("page", [page for page in RUN if not needs_a_generator(page)])
async def test_commands_of_a_page_run(page, tmp_path) -> None:
    if any(command.startswith("kubectl") for command in commands_of(page)) and not shutil.which(
        "kubectl", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    ):
        pytest.skip("kubectl is not installed (make kubernetes-tools)")
    await follow(Reader(tmp_path, page, {}), parts_of(page))


@pytest.mark.slow
@pytest.mark.timeout(LONGEST_S + 100)
@pytest.mark.parametrize("page", [page for page in RUN if needs_a_generator(page)])
async def test_commands_of_a_page_run_against_the_shared_stack(
    page, tmp_path, fresh_generator, executor_address
) -> None:
    reader = Reader(tmp_path, page, {"GENERATOR": fresh_generator, "EXECUTOR": executor_address})
    await follow(reader, parts_of(page))


PROGRAMS = [block for page in PARTS.values() for block in page if block.language == "python" and not block.marks]


def uses_a_generator(block: Block) -> bool:
    return block.page.name in PRELUDES or ".solve(" in block.text


@pytest.mark.parametrize("block", [block for block in PROGRAMS if not uses_a_generator(block)], ids=str)
async def test_program_runs(block: Block, tmp_path, executor_address) -> None:
    await run_program(block, Reader(tmp_path, block.page.name, {"EXECUTOR": executor_address}))


@pytest.mark.parametrize("block", [block for block in PROGRAMS if uses_a_generator(block)], ids=str)
async def test_program_runs_with_the_generator(block: Block, tmp_path, fresh_generator, executor_address) -> None:
    values = {"GENERATOR": fresh_generator, "EXECUTOR": executor_address}
    await run_program(block, Reader(tmp_path, block.page.name, values))


async def run_program(block: Block, reader: Reader) -> None:
    """Run a program, of which `await` may stand outside a function, and compare what it prints with `# ...` there."""
    program = reader.adapt(PRELUDES.get(block.page.name, "") + block.text)
    compile(program, str(block), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    runner = (
        "import ast, asyncio, inspect\n"
        f"code = compile({program!r}, 'page', 'exec', flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)\n"
        "result = eval(code, {'__name__': '__main__'})\n"
        "inspect.iscoroutine(result) and asyncio.run(result)\n"
    )
    printed = (await reader.run_python(runner)).splitlines()
    expected = [line.partition("# ")[2] for line in block.text.splitlines() if "print(" in line and "# " in line]
    assert printed[: len(expected)] == expected


CONTAINERS = [
    command
    for page in PARTS.values()
    for block in page
    if block.language in SHELL
    for command in block.run
    if is_container(command)
]


@pytest.mark.slow
async def test_documented_containers_run(image, tmp_path) -> None:
    reader = Reader(tmp_path, "", {"deepmath-executor ": f"{IMAGE} "})
    await reader.run("deepmath certs init certs && deepmath certs issue certs executor --dns executor.example")
    (tmp_path / "certs" / "executor" / "tls.key").chmod(0o644)
    await follow(reader, CONTAINERS)


@pytest.mark.parametrize("page", PARTS)
def test_commands_in_prose_and_their_options_exist(page: str) -> None:
    text = (next(path for path in PAGES if path.name == page)).read_text()
    unknown = [" ".join(words) for words in inline_commands(text) if not exists(words)]
    assert unknown == []


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_in_help_texts_and_their_options_exist(name: str) -> None:
    command = command_of(name)
    texts = [command.help or "", *(getattr(parameter, "help", None) or "" for parameter in command.params)]
    assert [" ".join(words) for words in inline_commands("\n".join(texts)) if not exists(words)] == []


def exists(words: list[str]) -> bool:
    """Whether the subcommand and the options of `deepmath ...` exist. Those of services are checked at their start."""
    if words[1] not in COMMANDS:
        return False
    if words[1] == "serve":
        return True
    command = command_of(words[1])
    if len(words) > 2:
        command = getattr(command, "commands", {}).get(words[2], command)
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    options = {word.partition("=")[0] for word in words[2:] if word.startswith("--")}
    return options <= known | {"--help"}


def command_of(name: str) -> Any:
    return get_command(import_module(f"deepmath.cli.commands.{name}").app)
