"""Output of a snippet while it runs: a prefix of its result, in time, in few messages, whatever the snippet does."""

import pytest

from deepmath.executor.v1 import executor_pb2 as pb

NEEDS_MATHS = False
SLEEP = "import time\ntime.sleep(0.1)\n"
# Programs with an output limit of 400 bytes, 200 of which are in the head.
PROGRAMS = {
    "short": "print('a')",
    "both": f"import sys\nprint('a')\n{SLEEP}print('b', file=sys.stderr)\n{SLEEP}",
    "endless": "while True: print('x')",
    "endless_bytes": "import sys\nwhile True:\n    sys.stdout.write('x')\n    sys.stdout.flush()",
    "endless_both": "import sys\nwhile True:\n    print('x')\n    print('y', file=sys.stderr)",
    "over_the_head": f"print('a' * 300)\n{SLEEP}print('b')",
    "over_the_limit": f"print('a' * 3000)\n{SLEEP}print('b' * 3000)",
    "endless_line": f"{SLEEP}print('a' * 20_000_000)",
    "invalid": f"import sys\nout = sys.stdout.buffer\nout.write(b'a\\xff\\xfe'); out.flush()\n{SLEEP}print('b')",
    "cut_character": "import sys, time\nfor byte in '€π𝟚é'.encode() * 9:\n    sys.stdout.buffer.write(bytes([byte]))\n"
    "    sys.stdout.buffer.flush()\n    time.sleep(0.005)",
    "cut_at_the_head": f"print('b' + '€' * 100)\n{SLEEP}",
    "ends_in_a_character": f"import sys\nsys.stdout.buffer.write(b'a\\xe2\\x82'); sys.stdout.flush()\n{SLEEP}",
    "line_ends": "import sys, time\nfor part in 'a\\r', '\\nb\\r', 'c\\r', '\\n':\n    print(end=part, flush=True)\n"
    "    time.sleep(0.1)",
    "closed": f"import sys\nprint('a')\nsys.stdout.close()\n{SLEEP}",
    "replaced": f"import io, sys\nprint('a')\nsys.stdout = io.StringIO()\nprint('b')\n{SLEEP}",
    "error": f"print('a')\n{SLEEP}1 / 0",
    "recursion": "def f(): print('a'); f()\nf()",
}


async def streamed(session, code: str, **limits: int) -> tuple[list[pb.SnippetOutput], pb.SnippetResult]:
    """Run a snippet and return its output messages and its result."""
    session.sequence += 1
    snippet = pb.RunSnippet(sequence=session.sequence, code=code, limits=pb.Limits(**limits), stream_output=True)
    await session.stream.write(pb.SessionRequest(run=snippet))
    outputs = []
    while (response := await session.read()).WhichOneof("response") == "output":
        outputs.append(response.output)
    return outputs, response.result


async def test_output_is_a_prefix_of_the_result_which_is_the_same_without(executor):
    async with executor.session() as session, executor.session() as silent:
        for name, code in PROGRAMS.items():
            limits = {"wall_ms": 300 if name.startswith("endless") else 10_000, "output_bytes": 400}
            outputs, result = await streamed(session, code, **limits)
            for text in ("stdout", "stderr"):
                whole = "".join(getattr(output, text) for output in outputs)
                assert getattr(result, text).startswith(whole), (name, outputs, result)
                assert len(whole.encode()) <= 200, name
                assert not any(getattr(output, text).endswith("\r") for output in outputs), name
            assert all(output.stdout or output.stderr for output in outputs), name
            assert {output.sequence for output in outputs} <= {session.sequence}, name
            assert len(outputs) <= 1 + result.usage.wall_ms / 30, name
            if not name.startswith("endless"):  # these write as much as they come to
                plain = await silent.run(code, **limits)
                same = ("outcome", "stdout", "stderr", "dropped_bytes", "state_lost")
                assert all(getattr(result, field) == getattr(plain, field) for field in same), (name, result, plain)


async def test_output_arrives_while_the_snippet_runs(executor):
    """The snippet waits until the client has read what it has written."""
    code = "import sys\nprint('a')\nask()\nprint('b', file=sys.stderr)\nask()\nprint('c')"
    host = pb.HostFunctions(functions=[pb.HostFunction(name="ask")])
    snippet = pb.RunSnippet(sequence=1, code=code, host=host, stream_output=True)
    seen = {"stdout": "", "stderr": ""}
    calls: list[pb.HostCall] = []
    async with executor.session() as session:
        await session.stream.write(pb.SessionRequest(run=snippet))
        for number, expected in enumerate((("a\n", ""), ("a\n", "b\n")), start=1):
            while tuple(seen.values()) != expected or len(calls) < number:
                response = await session.read()
                seen["stdout"] += response.output.stdout
                seen["stderr"] += response.output.stderr
                calls += [response.host_call] * response.HasField("host_call")
            answer = pb.HostResult(sequence=1, number=number, value="1")
            await session.stream.write(pb.SessionRequest(host_result=answer))
        while not (response := await session.read()).HasField("result"):
            pass
    assert (response.result.stdout, response.result.stderr) == ("a\nc\n", "b\n")


async def test_output_before_a_host_call_comes_before_it(executor):
    code = "for number in range(3):\n    print(number)\n    ask()"
    host = pb.HostFunctions(functions=[pb.HostFunction(name="ask")])
    snippet = pb.RunSnippet(sequence=1, code=code, host=host, stream_output=True)
    async with executor.session() as session:
        await session.stream.write(pb.SessionRequest(run=snippet))
        seen = []
        while not (response := await session.read()).HasField("result"):
            seen.append(response.output.stdout or response.host_call.number)
            if response.HasField("host_call"):
                answer = pb.HostResult(sequence=1, number=response.host_call.number, value="1")
                await session.stream.write(pb.SessionRequest(host_result=answer))
    assert seen == ["0\n", 1, "1\n", 2, "2\n", 3]


async def test_output_of_one_snippet_is_not_that_of_the_next(executor):
    async with executor.session() as session:
        for letter in "abc":
            outputs, _ = await streamed(session, f"print('{letter}')\n{SLEEP}print('end')")
            assert f"{letter}\nend\n".startswith("".join(output.stdout for output in outputs))
        await session.send(f"print('d')\n{SLEEP}", session.sequence + 1)
        assert (await session.read()).result.stdout == "d\n"  # it did not ask for its output


async def test_recorded_result_has_no_output_messages(executor):
    async with executor.session() as session:
        _, first = await streamed(session, f"print('a')\n{SLEEP}")
        session.sequence -= 1
        assert await streamed(session, "print('b')") == ([], first)


@pytest.mark.parametrize("ending", ["cancel", "read"])
async def test_client_that_does_not_read_delays_no_limit(executor, ending):
    """Its snippet ends at its time limit, and its slot serves others."""
    async with executor.session(session_id=f"slow-{ending}") as session:
        snippet = pb.RunSnippet(sequence=1, code=PROGRAMS["endless"], limits=pb.Limits(wall_ms=400), stream_output=True)
        await session.stream.write(pb.SessionRequest(run=snippet))
        (line,) = await executor.audit_of(f"slow-{ending}")  # it has ended
        assert line["outcome"] in ("WALL_TIMEOUT", "OUTPUT_LIMIT")
        assert (await executor.execute("1")).value == "1"
        if ending == "read":
            while (response := await session.read()).WhichOneof("response") != "result":
                pass
            assert response.result.dropped_bytes.stdout


async def test_client_that_leaves_ends_its_snippet(executor):
    async with executor.session(session_id="leaves") as session:
        snippet = pb.RunSnippet(sequence=1, code=PROGRAMS["endless_bytes"], stream_output=True)
        await session.stream.write(pb.SessionRequest(run=snippet))
        assert (await session.read()).output.stdout
        session.stream.cancel()
        await executor.audit_of("leaves")  # which waits for less than the snippet's limit
