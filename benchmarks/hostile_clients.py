"""A client of the gateway beside hostile ones: its latencies and failures, and the gateway's memory.

`python -m benchmarks.hostile_clients` starts an executor and a gateway. Phases follow each other in one run; in each,
an honest client opens a connection every 50 ms, runs a snippet by SandboxFusion's protocol, and closes it. Another
process attacks meanwhile:

    quiet       nothing
    idle        10 000 sockets that send nothing, each opened again 5 s after it is closed
    heads       1 000 sockets that send a header line every second and never end the head
    bodies      1 000 sockets that announce a body of 1 MiB and send a byte a second
    keys        200 sockets with a wrong key and a body of 1 MiB, again and again
    floods      200 sockets with bytes that are not HTTP, again and again

Both sides need descriptors for that many sockets (`ulimit -n`); `--sockets` sets another number for `idle`, and scales
the others. Figures: median and 95th percentile in milliseconds, failures of the honest client, and the gateway's
resident memory in MiB. Results: benchmarks/results/hostile_clients.json.
"""

import argparse
import asyncio
import json
import os
import platform
import resource
import statistics
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from deepmath.access.token_file_editor import write_client
from deepmath.access.tokens import TokenClient, hash_token
from deepmath.local_stack.stack import LocalStack

RESULTS = Path(__file__).parent / "results" / "hostile_clients.json"
KEY = "key-of-the-honest-client"
SECONDS, PERIOD_S, START_S = 15.0, 0.05, 5.0
BODY = json.dumps({"code": "print(6 * 7)", "language": "python"}).encode()
MIB = 1 << 20


class Target:
    """The gateway's address."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self.host, self.port = host, int(port)

    async def send(self, *parts: bytes, pause_s: float = 0.0) -> bytes:
        """Send the parts on a new connection, and return what comes back until it is closed."""
        reader, writer = await asyncio.open_connection(self.host, self.port)
        try:
            for part in parts:
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(pause_s)
            return await reader.read()
        finally:
            writer.transport.abort()

    async def keep_sending(self, *parts: bytes, pause_s: float = 0.0, again_s: float = 0.1) -> None:
        """Send again and again, whatever happens to the connections."""
        while True:
            with suppress(OSError):
                await self.send(*parts, pause_s=pause_s)
            await asyncio.sleep(again_s)


def head(line: str, key: str, length: int) -> bytes:
    fields = (
        f"Host: localhost\r\nConnection: close\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n"
    )
    return f"{line} HTTP/1.1\r\n{fields}Content-Length: {length}\r\n\r\n".encode()


HONEST = head("POST /run_code", KEY, len(BODY)) + BODY
WRONG_KEY = head("POST /run_code", "no-such-key", MIB) + bytes(MIB)
ENDLESS_BODY = [head("POST /run_code", KEY, MIB), *[b" "] * 1000]
ENDLESS_HEAD = [b"POST /run_code HTTP/1.1\r\n", *[b"X-Slow: a\r\n"] * 1000]

# Shares of --sockets, what each of them sends, and its pauses between the parts and between the connections.
ATTACKS: dict[str, tuple[float, list[bytes], float, float]] = {
    "quiet": (0, [], 0, 0),
    "idle": (1, [], 0, 5),
    "heads": (0.1, ENDLESS_HEAD, 1, 0.1),
    "bodies": (0.1, ENDLESS_BODY, 1, 0.1),
    "keys": (0.02, [WRONG_KEY], 0, 0.1),
    "floods": (0.02, [os.urandom(4096)], 0, 0.1),
}


async def attack(name: str, target: Target, sockets: int) -> None:
    """Attack until this process is ended."""
    share, parts, pause_s, again_s = ATTACKS[name]
    each = (target.keep_sending(*parts, pause_s=pause_s, again_s=again_s) for _ in range(int(share * sockets)))
    await asyncio.gather(*each)


async def measure(target: Target, gateway: psutil.Process) -> dict[str, float]:
    """Return the honest client's figures."""
    times: list[float] = []
    failures = 0
    end = time.monotonic() + SECONDS
    while (start := time.monotonic()) < end:
        try:
            async with asyncio.timeout(30):
                answer = await target.send(HONEST)
            failures += b'"stdout":"42\\n"' not in answer.replace(b'": "', b'":"')
        except (OSError, TimeoutError):
            failures += 1
        times.append(1000 * (time.monotonic() - start))
        await asyncio.sleep(PERIOD_S)
    memory = gateway.memory_info().rss / MIB
    cuts = statistics.quantiles(times, n=20)
    return {"requests": len(times), "failures": failures, "p50": cuts[9], "p95": cuts[18], "memory_mib": memory}


async def main(sockets: int) -> dict[str, Any]:
    """Return the figures of all phases."""
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        tokens = Path(folder, "clients.toml")
        write_client(tokens, "honest", TokenClient(sha256=hash_token(KEY), scopes=frozenset({"execute"})))
        arguments = {"gateway": ("--tokens", str(tokens))}
        async with LocalStack(listen={"gateway": "127.0.0.1:0"}, arguments=arguments) as stack:
            gateway, target = psutil.Process(stack.processes[-1].pid), Target(stack.gateway)
            await target.send(HONEST)
            for name in ATTACKS:
                command = [sys.executable, "-m", "benchmarks.hostile_clients", "--attack", name, stack.gateway]
                attacker = await asyncio.create_subprocess_exec(*command, "--sockets", str(sockets))
                await asyncio.sleep(START_S)
                measured = await measure(target, gateway)
                with suppress(ProcessLookupError):  # that of `quiet` has ended
                    attacker.kill()
                await attacker.wait()
                figures[name] = {key: round(value, 1) for key, value in measured.items()}
                print(name, figures[name], flush=True)
    machine = f"{len(os.sched_getaffinity(0))} cores, {platform.machine()}, Python {platform.python_version()}"
    return {**figures, "sockets": sockets, "machine": machine}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sockets", type=int, default=10_000)
    parser.add_argument("--attack", nargs=2, metavar=("NAME", "ADDRESS"), help="Used by the benchmark itself.")
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if options.attack:
        asyncio.run(attack(options.attack[0], Target(options.attack[1]), options.sockets))
    else:
        RESULTS.write_text(json.dumps(asyncio.run(main(options.sockets)), indent=1) + "\n")
