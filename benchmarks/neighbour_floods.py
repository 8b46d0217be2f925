"""Latency of a well-behaved client while another client floods the executor.

`python -m benchmarks.neighbour_floods` starts an executor that gives each client one of two slots, and measures the
latency of `1 + 1` in an open session: quiet, under each flood, and quiet again, for several rounds. A flood runs in a
process of its own at the lowest priority, because real clients do not share the executor's processors. `same` is the
comparator: a client that sends the neighbour's own snippet as fast as it can. Each figure is that of the best round,
because whatever else the machine does only adds to it; a ratio compares the best flooded with the best quiet one. The
target is a p95 under three times quiet. `step_p99_ms` and `step_max_ms` say how long one step holds the executor's
event loop, in processor time, which other programs do not change.
Results: benchmarks/results/neighbour_floods.json.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import grpc

from benchmarks.unauthenticated_floods import CALLERS
from deepmath.access.token_file_editor import generate_token, write_client
from deepmath.access.tokens import TokenClient, hash_token
from deepmath.executor.v1 import executor_pb2 as pb
from deepmath.executor.v1 import executor_pb2_grpc as rpc
from deepmath.rpc.metadata import CLIENT_NAME

RESULTS = Path(__file__).parent / "results" / "neighbour_floods.json"
OPTIONS = (
    *("--max-running-snippets=2", "--max-running-per-client=1", "--waiting-sandboxes=8", "--log-level=info"),
    *("--max-total-memory-bytes=2415919104", "--metrics-listen=127.0.0.1:0"),
)
TOKEN = generate_token()  # of the neighbour, where tokens are required
SNIPPETS = 300
CLIENTS = 32  # concurrent streams of a flood
LARGEST_OUTPUT = 256 << 10
WARM_UP_S = 1.0
FLOOD = ((CLIENT_NAME, "flood"),)
NEIGHBOUR = ((CLIENT_NAME, "neighbour"), ("authorization", f"Bearer {TOKEN}"))
_OS = "import random\nos = random._os\n"


class FloodSession:
    """A session of the flooding client."""

    def __init__(self, stub: rpc.ExecutorServiceStub) -> None:
        self._stub = stub
        self._sequence = 0

    async def __aenter__(self) -> "FloodSession":
        self._stream = self._stub.Session(metadata=FLOOD)
        await self._stream.write(pb.SessionRequest(open=pb.OpenSession()))
        await self._stream.read()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stream.cancel()

    async def run(self, code: str, host: pb.HostFunctions | None = None, **limits: int) -> pb.SessionResponse:
        """Run a snippet and return its result, or its first host call."""
        self._sequence += 1
        snippet = pb.RunSnippet(sequence=self._sequence, code=code, limits=pb.Limits(**limits), host=host)
        await self._stream.write(pb.SessionRequest(run=snippet))
        return await self._read()

    async def answer(self, call: pb.HostCall) -> pb.SessionResponse:
        """Answer a host call and return what follows."""
        result = pb.HostResult(sequence=call.sequence, number=call.number, value="1")
        await self._stream.write(pb.SessionRequest(host_result=result))
        return await self._read()

    async def _read(self) -> pb.SessionResponse:
        response = await self._stream.read()
        assert isinstance(response, pb.SessionResponse), "the stream ended"
        return response


Flood = Callable[[rpc.ExecutorServiceStub], Awaitable[None]]


def in_one_session(code: str, **limits: int) -> Flood:
    """Return a flood that runs `code` again and again in one session."""

    async def flood(stub: rpc.ExecutorServiceStub) -> None:
        async with FloodSession(stub) as session:
            while True:
                await session.run(code, **limits)

    return flood


def in_fresh_sessions(code: str, **limits: int) -> Flood:
    """Return a flood that runs `code` in one fresh session after another."""

    async def flood(stub: rpc.ExecutorServiceStub) -> None:
        request = pb.ExecuteRequest(code=code, limits=pb.Limits(**limits))
        while True:
            await stub.Execute(request, metadata=FLOOD)

    return flood


async def host_calls(stub: rpc.ExecutorServiceStub) -> None:
    """Call a host function with the largest arguments of the most parts."""
    functions = pb.HostFunctions(functions=[pb.HostFunction(name="f", parameters=["x"])], calls=1000)
    async with FloodSession(stub) as session:
        while True:
            response = await session.run("v = [[0] * 60] * 300\nfor _ in range(100):\n    f(v)", functions)
            while response.WhichOneof("response") == "host_call":
                response = await session.answer(response.host_call)


async def many_sessions(stub: rpc.ExecutorServiceStub) -> None:
    """Open sessions and abandon them at once."""
    while True:
        async with FloodSession(stub):
            pass


async def abandoned_snippets(stub: rpc.ExecutorServiceStub) -> None:
    """Start a snippet and disconnect."""
    while True:
        async with FloodSession(stub) as session:
            with suppress(TimeoutError):
                async with asyncio.timeout(0.02):
                    await session.run("while True: pass")


# As a result of the longest permitted length.
_FORGED = (
    _OS + "def send(body):\n"
    "    rest = memoryview(len(body).to_bytes(4, 'big') + body)\n"
    "    while rest: rest = rest[os.write(3, rest):]\n"
)
FORGED_JSON = _FORGED + (
    'send(b\'{"sequence":1,"outcome":"OK","dropped":0,"value":"\' + b"\\\\u0001" * 786000 + b\'"}\')\nwhile True: pass'
)
FORGED_NESTED = _FORGED + "send(b'[' * 4_700_000)\nwhile True: pass"

# In the present form of an answer: fields, each with its name and its text after their lengths.
FORGED_VALUE = _FORGED + (
    "def field(name, text): return len(name).to_bytes(1, 'big') + name + len(text).to_bytes(4, 'big') + text\n"
    "send(field(b'sequence', b'1') + field(b'outcome', b'OK') + field(b'dropped', b'0')\n"
    "    + field(b'value', b'\\xff' * (256 << 10)))\nwhile True: pass"
)

FLOODS: dict[str, Flood] = {
    "same": in_one_session("1 + 1"),
    "fresh_sessions": in_fresh_sessions("1 + 1"),
    "preflight_texts": in_one_session("[ is \na" * 570),
    "syntax_errors": in_one_session("x = = 1"),
    "long_code": in_one_session("x = = 1\n" + "# " + "x" * (255 << 10)),
    "refused_imports": in_one_session("import os"),
    "forged_json": in_fresh_sessions(FORGED_JSON, output_bytes=LARGEST_OUTPUT),
    "forged_nested": in_fresh_sessions(FORGED_NESTED, output_bytes=LARGEST_OUTPUT),
    "forged_value": in_fresh_sessions(FORGED_VALUE, output_bytes=LARGEST_OUTPUT),
    "long_values": in_one_session("'\\1' * 300_000", output_bytes=LARGEST_OUTPUT),
    "long_exceptions": in_one_session("raise ValueError('\\1' * 300_000)", output_bytes=LARGEST_OUTPUT),
    "long_output": in_one_session("print('x' * 8_000_000)", output_bytes=LARGEST_OUTPUT),
    "invalid_output": in_one_session(
        _OS + "for _ in range(100): os.write(1, b'\\xff' * 65536)", output_bytes=LARGEST_OUTPUT
    ),
    "short_writes": in_one_session(_OS + "for _ in range(100_000): os.write(1, b'x')"),
    "host_calls": host_calls,
    # 256 MiB in each of 32 sessions, in an executor with 2.25 GiB for all; and limits of which one fits at a time.
    "held_memory": in_one_session("x = bytearray(b'x') * (256 << 20)"),
    "large_limits": in_one_session("1 + 1", memory_bytes=1 << 30),
    "many_sessions": many_sessions,
    "abandoned_snippets": abandoned_snippets,
}
"""Floods by name. Each function is one stream; CLIENTS of them run at once."""

LOG_READER_STOPS = "log_reader_stops"  # a flood of the comparator, while nobody reads the executor's stderr


async def flood_forever(name: str, address: str, metrics_port: str) -> None:
    """Run a flood until this process is killed."""
    os.nice(19)
    if name in CALLERS:
        await asyncio.gather(*(CALLERS[name](address, int(metrics_port)) for _ in range(CLIENTS)))
    async with grpc.aio.insecure_channel(address) as channel:
        stub = rpc.ExecutorServiceStub(channel)
        await asyncio.gather(*(_retried(FLOODS[name], stub) for _ in range(CLIENTS)))


async def _retried(flood: Flood, stub: rpc.ExecutorServiceStub) -> None:
    while True:
        with suppress(grpc.aio.AioRpcError, AssertionError):
            await flood(stub)
        await asyncio.sleep(0.01)


@asynccontextmanager
async def executor(
    read_log: bool, tokens: bool, steps: dict[str, float]
) -> AsyncIterator[tuple[str, str, Callable[[], None]]]:
    """Run an executor and yield its address, its metrics port, and a function that starts the record of its steps.

    At the end `steps` has p99 and maximum of the steps of its event loop. With `read_log` false, its stderr is a pipe
    that nobody reads. With `tokens`, callers need one.
    """
    with tempfile.TemporaryDirectory() as folder:
        address = f"unix:{folder}/socket"
        options = OPTIONS
        if tokens:
            file = Path(folder, "tokens.toml")
            write_client(file, "neighbour", TokenClient(sha256=hash_token(TOKEN), scopes=("execute",)), force=False)
            options = (*OPTIONS, f"--tokens={file}")
        reader, writer = os.pipe()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks.executor_steps", f"{folder}/steps", f"--listen={address}", *options),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL if read_log else writer,
        )
        assert process.stdout
        port = ""
        while not (line := await process.stdout.readline()).startswith(b"serving on"):
            assert line, "the executor did not start"
            if line.startswith(b"metrics on"):
                port = line.decode().strip().rpartition(":")[2]
        try:
            yield address, port, lambda: process.send_signal(signal.SIGUSR1)
        finally:
            process.terminate()
            try:
                async with asyncio.timeout(30):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
            else:
                steps |= await asyncio.to_thread(_read_json, Path(folder, "steps"))
            os.close(reader)
            os.close(writer)


def _read_json(file: Path) -> dict[str, float]:
    return dict(json.loads(file.read_text()))


@asynccontextmanager
async def flooding(name: str, address: str, metrics_port: str) -> AsyncIterator[None]:
    """Flood `address` for the block, from another process."""
    flood = "same" if name == LOG_READER_STOPS else name
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.neighbour_floods", "--flood", flood, address, metrics_port)
    )
    await asyncio.sleep(WARM_UP_S)
    try:
        yield
    finally:
        process.kill()
        await process.wait()


async def measure(address: str) -> dict[str, float]:
    """Return p50 and p95 of the neighbour's latency, in milliseconds; infinite if it gets no answer in a minute."""
    times: list[float] = []
    with suppress(TimeoutError):
        async with grpc.aio.insecure_channel(address) as channel, asyncio.timeout(60):
            stream = rpc.ExecutorServiceStub(channel).Session(metadata=NEIGHBOUR)
            await stream.write(pb.SessionRequest(open=pb.OpenSession()))
            await stream.read()
            for sequence in range(1, SNIPPETS + 1):
                started = time.perf_counter()
                await stream.write(pb.SessionRequest(run=pb.RunSnippet(sequence=sequence, code="1 + 1")))
                assert (await stream.read()).result.value == "2"
                times.append(1e3 * (time.perf_counter() - started))
                await asyncio.sleep(0.002)
    missing = SNIPPETS - len(times)
    ordered = [*sorted(times), *[float("inf")] * missing]
    return {"p50": ordered[SNIPPETS // 2], "p95": ordered[SNIPPETS * 95 // 100]}


async def main(rounds: int, names: list[str]) -> dict[str, Any]:
    """Return the neighbour's latency under each flood."""
    results: dict[str, Any] = {}
    for name in names:
        figures: dict[str, list[float]] = {}
        steps: dict[str, float] = {}
        async with executor(name != LOG_READER_STOPS, name in CALLERS, steps) as (address, port, record_steps):
            await measure(address)
            record_steps()
            for _ in range(rounds):
                for key, value in (await measure(address)).items():
                    figures.setdefault(f"quiet_{key}_ms", []).append(value)
                async with flooding(name, address, port):
                    for key, value in (await measure(address)).items():
                        figures.setdefault(f"flood_{key}_ms", []).append(value)
        best = {key: min(values) for key, values in figures.items()}
        ratios = {f"{key}_ratio": best[f"flood_{key}_ms"] / best[f"quiet_{key}_ms"] for key in ("p50", "p95")}
        results[name] = {key: round(value, 2) for key, value in (best | ratios | steps).items()}
        print(f"{name:20} {results[name]}", file=sys.stderr, flush=True)
    return results


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each flood (default: 5)")
    parser.add_argument("--only", nargs="+", help="floods to run (default: all)")
    parser.add_argument("--flood", nargs=3, metavar=("NAME", "ADDRESS", "PORT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.flood:
        asyncio.run(flood_forever(*options.flood))
    chosen = options.only or [*FLOODS, *CALLERS, LOG_READER_STOPS]
    results = asyncio.run(main(options.rounds, chosen))
    if not options.only:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results, indent=1))
