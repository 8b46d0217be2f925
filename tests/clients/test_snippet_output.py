"""Forwarding of output: each text once and whole, however the runs of a snippet end."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.executor_process import Executor, kill, running

from deepmath.clients.snippet_output import SnippetOutputRelay
from deepmath.executor.v1 import executor_pb2 as pb

from .conftest import client_of

TEXT = st.text("ab\n", max_size=8)


class Forwarded:
    """Texts that a handler has received."""

    def __init__(self) -> None:
        self.stdout = self.stderr = ""

    def __call__(self, name: str, text: str) -> None:
        assert text
        setattr(self, name, getattr(self, name) + text)


def relayed(*runs: tuple[str, str], result: pb.SnippetResult) -> Forwarded:
    """Forward runs in pieces of two characters, then the result."""
    forwarded = Forwarded()
    relay = SnippetOutputRelay(forwarded)
    for stdout, stderr in runs:
        add = relay.start_run()
        for at in range(0, max(len(stdout), len(stderr)), 2):
            add(pb.SnippetOutput(stdout=stdout[at : at + 2], stderr=stderr[at : at + 2]))
    relay.finish(result)
    return forwarded


@given(TEXT, TEXT, st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), max_size=4))
def test_runs_that_write_the_same_are_forwarded_once(stdout, stderr, ends) -> None:
    runs = [(stdout[:out], stderr[:err]) for out, err in ends]
    forwarded = relayed(*runs, result=pb.SnippetResult(stdout=stdout, stderr=stderr))
    assert (forwarded.stdout, forwarded.stderr) == (stdout, stderr)


@given(st.lists(TEXT, min_size=1, max_size=4), TEXT)
def test_result_that_differs_from_what_was_forwarded_follows_whole(runs, final) -> None:
    whole = relayed(*((run, "") for run in (*runs, final)), result=pb.SnippetResult(stdout=final)).stdout
    assert whole == final or whole.endswith(f"\n{final}")
    assert whole == final or not final.startswith(runs[0]) or len(runs) > 1


async def test_output_of_a_session_is_whole_with_and_without_messages(client) -> None:
    async with client.session() as session:
        for code in ("print('a')", "import time\nprint('a')\ntime.sleep(0.1)\nprint('b' * 99_999)", "1 / 0", ""):
            forwarded = Forwarded()
            result = await session.run(code, on_output=forwarded)
            assert (forwarded.stdout, forwarded.stderr) == (result.stdout, result.stderr)


async def test_snippet_that_runs_again_repeats_no_output(tmp_path) -> None:
    """The executor dies after the first output, and the snippet and an earlier one run on another."""
    forwarded = Forwarded()
    executors: list[Executor] = []

    def forward(name: str, text: str) -> None:
        forwarded(name, text)
        if len(executors) == 1 and "2\n" in forwarded.stdout:
            kill(executors[0].pid)

    code = "import time\nfor number in range(5): print(number); time.sleep(0.1)"
    async with running(tmp_path, "--waiting-sandboxes=1") as executor, client_of(executor, patience_s=20) as client:
        executors.append(executor)
        session = client.session()
        await session.run("print('earlier')", on_output=Forwarded())
        running_cell = asyncio.create_task(session.run(code, on_output=forward))
        await executor.process.wait()
        async with running(tmp_path, "--waiting-sandboxes=1") as second, session:
            executors.append(second)
            result = await running_cell
    assert session.losses == 1
    assert forwarded.stdout == result.stdout == "0\n1\n2\n3\n4\n"


async def test_handler_that_fails_ends_the_run_and_leaves_the_session_usable(client) -> None:
    def fail(name: str, text: str) -> None:
        raise KeyError(name, text)

    async with client.session() as session:
        await session.run("x = 41")
        with pytest.raises(KeyError):
            await session.run("import time\nx = 0\nprint('a')\nwhile True: time.sleep(1)", on_output=fail)
        assert (await session.run("x + 1")).value == "42"
