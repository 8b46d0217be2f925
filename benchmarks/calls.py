"""What it costs that services prove to each other who they are.

`python -m benchmarks.calls` starts three executors: one on a unix socket, one on TCP, and one on TCP that wants mutual
TLS and a token. It measures, in turns for some rounds, a call that does nothing, a snippet in a session that is open,
and a new client's first call (connection, handshake, call). Of each the median is taken, and held against the unix
socket's.
Results: benchmarks/results/calls.json.
"""

import argparse
import asyncio
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from deepmath.access.certificate_authority import create_ca, issue_certificate
from deepmath.access.token_file_editor import generate_token, write_client
from deepmath.access.tokens import TokenClient, hash_token
from deepmath.clients import ExecutorClient
from deepmath.local_stack.local_services import LocalServices

RESULTS = Path(__file__).parent / "results" / "calls.json"
NewClient = Callable[[], ExecutorClient]


async def main(rounds: int) -> dict[str, Any]:
    """Measure everything and return it by name."""
    times: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        ways = {
            "unix": await serving(stack, [], None),
            "tcp": await serving(stack, [], "127.0.0.1:0"),
            "mutual_tls_and_token": await proving(stack, folder),
        }
        for number in range(rounds):
            for name, new_client in ways.items():
                for key, value in (await measure(new_client)).items():
                    times[name][key].append(value)
                print(
                    number, name, {key: values[-1] for key, values in times[name].items()}, file=sys.stderr, flush=True
                )
    results: dict[str, Any] = {
        name: {key: round(statistics.median(values), 3) for key, values in figures.items()}
        for name, figures in times.items()
    }
    against = {
        f"{name}_vs_unix": {key: round(value / results["unix"][key], 3) for key, value in results[name].items()}
        for name in results
        if name != "unix"
    }
    machine = f"{len(os.sched_getaffinity(0))} cores, {platform.machine()}, Python {platform.python_version()}"
    return results | {"ratios": against, "rounds": rounds, "machine": machine}


async def serving(stack: AsyncExitStack, options: list[str], listen: str | None, **proof: Path) -> NewClient:
    """Start an executor and return what makes clients of it."""
    services = await stack.enter_async_context(LocalServices())
    address = await services.start("executor", *options, listen=listen)
    return lambda: ExecutorClient(address, **proof)


async def proving(stack: AsyncExitStack, folder: Path) -> NewClient:
    """Start an executor that asks who calls."""
    create_ca(folder / "authority", days=1)
    server, me = (issue_certificate(folder / "authority", name, [], ["127.0.0.1"], days=1) for name in ("executor", "me"))
    token, tokens, file = generate_token(), folder / "tokens.toml", folder / "token"
    write_client(tokens, "me", TokenClient(sha256=hash_token(token), scopes=frozenset({"execute"})))
    file.write_text(token)
    options = ["--tls", str(server), "--tokens", str(tokens)]
    return await serving(stack, options, "127.0.0.1:0", tls=me, token_file=file)


async def measure(new_client: NewClient) -> dict[str, float]:
    async with new_client() as client, client.session() as session:
        await median_ms(client.get_info, 20)  # warm
        await median_ms(lambda: session.run("1 + 1"), 20)
        return {
            "call_ms": await median_ms(client.get_info, 300),
            "snippet_ms": await median_ms(lambda: session.run("1 + 1"), 300),
            "first_call_ms": await median_ms(lambda: first_call(new_client), 20),
        }


async def first_call(new_client: NewClient) -> None:
    async with new_client() as client:
        await client.get_info()


async def median_ms(call: Callable[[], Awaitable[object]], times: int) -> float:
    took = []
    for _ in range(times):
        begun = time.perf_counter()
        await call()
        took.append(1e3 * (time.perf_counter() - begun))
    return statistics.median(took)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    measured = asyncio.run(main(arguments.rounds))
    RESULTS.write_text(json.dumps(measured, indent=2) + "\n")
    print(json.dumps(measured, indent=2))
