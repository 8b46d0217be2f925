"""The Jupyter kernel, driven by Jupyter's own client; the cells run on a real executor."""

import asyncio
import base64
import json
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
from support.executor_process import kill, running

from deepmath.clients import ExecutorClient
from deepmath.errors import InvalidRequest
from deepmath.integrations.jupyter.cell_completeness import completeness
from deepmath.integrations.jupyter.cell_messages import source
from deepmath.integrations.jupyter.cell_runner import CellRunner
from deepmath.integrations.jupyter.kernel_spec import install_kernel_spec
from deepmath.local_stack.stack import LocalStack
from deepmath.local_stack.state_folder import STATE_VARIABLE
from deepmath.sandbox.png_image import is_png
from deepmath.sdk.service_access import ServiceChoice

from .jupyter_front_end import FrontEnd

PYPLOT = "import matplotlib.pyplot as plt\n"


@pytest.fixture(scope="module")
async def plots_executor() -> AsyncIterator[str]:
    async with LocalStack(arguments={"executor": ["--preload=plots"]}) as stack:
        yield stack.executor


@pytest.fixture(scope="module")
async def front_end(plots_executor: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[FrontEnd]:
    """A kernel with a limit of two seconds per cell. Each test sets the variables that it reads."""
    prefix = tmp_path_factory.mktemp("jupyter")
    installed = install_kernel_spec([f"--executor={plots_executor}", "--wall-seconds=2"], prefix=prefix)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "IPYTHONDIR"):
            patch.setenv(name, str(prefix / name))
        async with FrontEnd(installed.parent) as front_end:
            yield front_end


@pytest.mark.parametrize(
    ("code", "stdout", "stderr", "value"),
    [
        ("6 * 7", "", "", "42"),
        ("x = 1", "", "", None),
        ("", "", "", None),
        ("print('a'); print('b')\n3", "a\nb\n", "", "3"),
        ("import sys\nprint('e', file=sys.stderr)", "", "e\n", None),
        ("%matplotlib inline\n1", "", "", "1"),
        ("from sympy import *\nSymbol('x') ** 2", "", "", "x**2"),
    ],
)
async def test_cell_writes_and_evaluates(front_end, code: str, stdout: str, stderr: str, value: str | None) -> None:
    cell = await front_end.run(code)
    assert (cell.text("stdout"), cell.text("stderr"), cell.value) == (stdout, stderr, value)
    assert (cell.reply["status"], cell.reply["outcome"], cell.reply["state_lost"]) == ("ok", "OK", False)


@pytest.mark.parametrize(
    ("code", "name", "outcome", "lost"),
    [
        ("1 / 0", "ZeroDivisionError", "EXCEPTION", False),
        ("1 +", "SyntaxError", "EXCEPTION", False),
        ("input()", "EOFError", "EXCEPTION", False),
        ("!ls", "SyntaxError", "EXCEPTION", False),
        ("import socket", "ImportError", "POLICY_VIOLATION", False),
        ("while True: pass", "TimeoutError", "WALL_TIMEOUT", False),
        ("import random\nrandom._os._exit(3)", "CRASHED", "CRASHED", True),
        ("#" * 300_000, "InvalidRequest", "NOT_RUN", False),
    ],
)
async def test_cell_that_fails_says_how(front_end, code: str, name: str, outcome: str, lost: bool) -> None:
    await front_end.run("kept = 1")
    cell = await front_end.run(code, allow_stdin=outcome != "NOT_RUN")
    (error,) = (content for kind, content in cell.messages if kind == "error")
    assert {"status": "error", "outcome": outcome, "state_lost": lost, **error}.items() <= cell.reply.items()
    assert error["ename"] == name
    assert name in "\n".join(error["traceback"])
    assert ("variables are lost" in "\n".join(error["traceback"])) == lost
    assert (await front_end.run("kept")).reply["status"] == ("error" if lost else "ok")


async def test_output_is_shown_while_the_cell_runs(front_end) -> None:
    """A cell without an end is interrupted as soon as its output is there."""
    await front_end.run("x = 1")
    shown = asyncio.Event()

    def watch(kind: str, _: object) -> None:
        if kind == "stream":
            shown.set()

    cell = asyncio.create_task(front_end.run("x = 2\nprint('a')\nwhile True: pass", on_message=watch))
    await shown.wait()
    await front_end.interrupt()
    ended = await cell
    assert ended.messages[0] == ("stream", {"name": "stdout", "text": "a\n"})
    assert ended.reply["outcome"] == "INTERRUPTED"
    assert (await front_end.run("x")).value == "1"


async def test_output_is_shown_once_and_in_order_before_the_value(front_end) -> None:
    code = "import sys, time\nfor part in 'a\\r', '\\nb', '\\x1b[31m\\n':\n    print(end=part, flush=True)\n"
    ended = await front_end.run(code + "    time.sleep(0.1)\nprint('c' * 20_000, file=sys.stderr)\n7")
    assert ended.text("stdout") == "a\nb\\x1b[31m\n"
    assert len(ended.text("stderr")) == 16_384 + len(ended.messages[-1][1]["text"])
    *streams, value, note = ended.types
    assert set(streams) == {"stream"}
    assert (value, note) == ("execute_result", "stream")


async def test_figures_are_images(front_end) -> None:
    cell = await front_end.run(PYPLOT + "plt.plot([1, 2])\nplt.show()\nplt.plot([3])\n7")
    assert cell.types == ["display_data", "display_data", "execute_result"]
    for _, content in cell.messages[:2]:
        assert is_png(base64.b64decode(content["data"]["image/png"]))
        assert content["data"].keys() == {"image/png", "text/plain"}


async def test_what_is_cut_is_said(front_end) -> None:
    cell = await front_end.run(PYPLOT + "for _ in range(9): plt.figure()\nprint('x' * 100_000)")
    assert re.search(r"\d+ bytes were cut from the middle of stdout", cell.text("stderr"))
    assert "1 figures were left out" in cell.text("stderr")
    assert len(cell.text("stdout")) < 20_000


FORGED = json.dumps({"msg_type": "display_data", "content": {"data": {"text/html": "<script>1</script>"}}})
HOSTILE = {
    "frames": f"print('<IDS|MSG>', {FORGED!r}, sep='\\n')",
    "descriptors": f"import random\nfor n in range(40):\n    try: random._os.write(n, {FORGED!r}.encode())\n"
    "    except OSError: pass",
    "terminal": "print('\\x1b]52;c;YQ==\\x07\\x1b[2J\\u202e')",
    "markup_of_a_value": "class A:\n    def __repr__(self): return '<img src=x onerror=alert(1)>\\x1b[2J'\n"
    "    def _repr_html_(self): return '<script>1</script>'\n"
    "    def _repr_mimebundle_(self, **_): return {'text/html': '<script>1</script>'}\nA()",
    "name_of_an_exception": "raise type('\\x1b[2J<script>', (Exception,), {})('\\x1b[2J' * 1000)",
    "class_of_ours": "raise type('Unavailable', (Exception,), {})('no executor')",
    "interrupt": "raise KeyboardInterrupt",
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_output_forges_no_message_and_steers_no_terminal(front_end, name: str) -> None:
    cell = await front_end.run(HOSTILE[name])
    assert set(cell.types) <= {"stream", "execute_result", "error"}
    assert cell.reply["outcome"] not in ("INTERRUPTED", "NOT_RUN")
    texts = json.dumps([cell.messages, cell.reply], ensure_ascii=False)
    assert "text/html" not in {key for _, content in cell.messages for key in content.get("data", ())}
    assert not any(mark in texts for mark in (r"\u001b", r"\u0007", "\u202e"))


@pytest.mark.parametrize("how", ["message", "signal"])
async def test_interrupt_ends_the_cell_and_keeps_the_variables(front_end, plots_executor, how: str) -> None:
    await front_end.run("kept = 41")
    running_cell = asyncio.create_task(front_end.run("kept = 0\nimport time\ntime.sleep(1.9)"))
    async with ExecutorClient(plots_executor) as client:
        while not (await client.get_info()).load.running_snippets:  # noqa: ASYNC110 - in another process
            await asyncio.sleep(0.05)
        if how == "message":
            await front_end.interrupt()
        else:
            await front_end.manager.signal_kernel(signal.SIGINT)
        cell = await running_cell
        async with asyncio.timeout(1):
            while (await client.get_info()).load.live_sessions:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    assert (cell.reply["outcome"], cell.reply["ename"]) == ("INTERRUPTED", "KeyboardInterrupt")
    assert cell.types == ["error"]
    assert (await front_end.run("kept + 1")).value == "42"


async def test_interrupt_between_cells_has_no_effect(front_end) -> None:
    await front_end.interrupt()
    await front_end.manager.signal_kernel(signal.SIGINT)
    assert (await front_end.run("1")).value == "1"


async def test_restart_starts_a_new_session(front_end) -> None:
    await front_end.run("kept = 1")
    await front_end.restart()
    assert (await front_end.run("kept")).reply["ename"] == "NameError"


async def test_silent_cell_publishes_nothing(front_end) -> None:
    cell = await front_end.run("print(1)\n2", silent=True)
    assert cell.messages == []
    assert cell.reply["outcome"] == "OK"


@pytest.mark.parametrize(
    ("code", "status", "indent"),
    [
        ("1", "complete", None),
        ("for i in x:", "incomplete", "    "),
        ("for i in x:\n    if i:", "incomplete", "        "),
        ("for i in x:\n    y", "incomplete", "    "),
        ("for i in x:\n    y\n", "complete", None),
        ("(", "incomplete", ""),
        ("1 + )", "invalid", None),
        ("!ls", "invalid", None),
        ("\0", "invalid", None),
        ("(" * 5_000, "unknown", None),
    ],
)
def test_completeness_of_a_cell(code: str, status: str, indent: str | None) -> None:
    assert completeness(code) == {"status": status} | ({} if indent is None else {"indent": indent})


@pytest.mark.parametrize("part", ["(", "-", "not ", "a.", "lambda:", "x if ", "[x for x in ", ")", "f'{", "!\n", "@"])
def test_completeness_of_a_deep_cell_has_an_answer(part: str) -> None:
    assert completeness((part * 4096)[:4096])["status"] in ("complete", "incomplete", "invalid", "unknown")


async def test_other_requests_have_valid_answers(front_end) -> None:
    assert await front_end.ask("is_complete", "(") == {"status": "incomplete", "indent": ""}
    assert (await front_end.ask("complete", "x.", 2))["matches"] == []
    assert (await front_end.ask("inspect", "x.", 2))["found"] is False
    assert (await front_end.ask("history"))["history"] == []
    information = await front_end.ask("kernel_info")
    assert information["language_info"]["name"] == "python"
    assert information["supported_features"] == []


async def test_lost_executor_is_noted_and_the_variables_are_restored(tmp_path) -> None:
    runner = CellRunner(ServiceChoice(executor=f"unix:{tmp_path}/socket"))
    try:
        async with running(tmp_path) as first:
            await asyncio.wrap_future(runner.start("kept = 41"))
            kill(first.pid)
            await first.process.wait()
        async with running(tmp_path):
            run = await asyncio.wrap_future(runner.start("kept + 1"))
        assert run.result.value == "42"
        assert any("executor lost" in note and "replaying 1 snippets" in note for note in run.notes)
    finally:
        await asyncio.to_thread(runner.close)


async def test_kernel_without_an_address_has_an_executor_with_figures_that_ends_with_it() -> None:
    before = set(psutil.Process().children(recursive=True))
    runner = CellRunner(ServiceChoice(figures=True))
    run = await asyncio.wrap_future(runner.start(PYPLOT + "plt.plot([1])"))
    assert len(run.result.rich_outputs) == 1
    started = set(psutil.Process().children(recursive=True)) - before
    assert started
    await asyncio.to_thread(runner.close)
    _, alive = psutil.wait_procs(started, timeout=10)
    assert alive == []


_WITHOUT_MATPLOTLIB = """
from importlib import util

find = util.find_spec
util.find_spec = lambda name, *package: None if name == "matplotlib" else find(name, *package)
"""


@pytest.mark.slow
async def test_detached_stack_without_figures_is_left_aside(deepmath, tmp_path, monkeypatch) -> None:
    """A stack that was started before matplotlib was installed."""
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path / "state"))
    (tmp_path / "sitecustomize.py").write_text(_WITHOUT_MATPLOTLIB)
    with monkeypatch.context() as earlier:
        earlier.setenv("PYTHONPATH", str(tmp_path))
        assert (await deepmath("up", "--detach", "--executor-only")).status == 0
    try:
        before = set(psutil.Process().children(recursive=True))
        for figures in (False, True):
            runner = CellRunner(ServiceChoice(figures=figures))
            assert (await asyncio.wrap_future(runner.start("6 * 7"))).result.value == "42"
            assert bool(set(psutil.Process().children(recursive=True)) - before) == figures
            await asyncio.to_thread(runner.close)
    finally:
        await deepmath("down")


@pytest.mark.parametrize(
    ("code", "python"),
    [
        ("%matplotlib inline", ""),
        ("%matplotlib inline\nx", "\nx"),
        ("x\n  %matplotlib  inline  \ny", "x\n\ny"),
        ("s = '%matplotlib inline'", "s = '%matplotlib inline'"),
        ("%matplotlib widget", "%matplotlib widget"),
        ("%timeit x", "%timeit x"),
    ],
)
def test_request_for_inline_figures_is_the_only_magic(code: str, python: str) -> None:
    assert source(code) == python


def test_kernel_spec_names_this_python_and_its_options(tmp_path) -> None:
    folder = install_kernel_spec(["--executor=unix:/x"], name="Mine", prefix=tmp_path)
    assert folder == tmp_path / "share" / "jupyter" / "kernels" / "mine"
    specification = json.loads((folder / "kernel.json").read_text())
    assert specification["argv"][0] == sys.executable
    assert specification["argv"][-2:] == ["{connection_file}", "--executor=unix:/x"]
    assert specification["interrupt_mode"] == "message"


@pytest.mark.parametrize("name", ["a b", "../x", "", "a/b", "ä"])
def test_bad_name_of_a_kernel_is_refused(tmp_path, name: str) -> None:
    with pytest.raises(InvalidRequest, match=r"name of (a|the) kernel"):
        install_kernel_spec([], name=name, prefix=tmp_path)
    assert list(tmp_path.iterdir()) == []


async def test_command_installs_the_kernel(deepmath, tmp_path) -> None:
    ended = await deepmath("kernel", "install", "--prefix", str(tmp_path), "--tls", "certs", "--memory-mib", "64")
    specification = json.loads((Path(ended.out.strip()) / "kernel.json").read_text())
    assert specification["argv"][-2:] == [f"--tls={Path.cwd()}/certs", "--memory-mib=64"]
    (tmp_path / "file").write_text("")
    for arguments, message in {
        ("--user", "--prefix", str(tmp_path)): "give one",
        ("--prefix", str(tmp_path / "file")): "try --user",
    }.items():
        refused = await deepmath("kernel", "install", *arguments)
        assert refused.status == 2
        assert message in refused.err


def test_kernel_with_a_wrong_option_ends_with_a_message() -> None:
    command = [sys.executable, "-P", "-m", "deepmath.integrations.jupyter", "--memory-mib=x"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode != 0
    assert "memory_mib" in ended.stderr
