"""Cost of mutual TLS and tokens between services.

`python -m benchmarks.calls` starts three executors: on a Unix socket, on TCP, and on TCP with mutual TLS and a token.
In alternating rounds it measures an empty RPC, a snippet in an open session, and the first call of a new client
(connection, handshake, call). The medians are compared with those of the Unix socket.
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
    """Return the medians of all connections and their ratios."""
    times: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        connections = {
            "unix": await serve(stack, [], None),
            "tcp": await serve(stack, [], "127.0.0.1:0"),
            "mutual_tls_and_token": await serve_secured(stack, folder),
        }
        for number in range(rounds):
            for name, new_client in connections.items():
                for key, value in (await measure(new_client)).items():
                    times[name][key].append(value)
                print(
                    number, name, {key: values[-1] for key, values in times[name].items()}, file=sys.stderr, flush=True
                )
    results: dict[str, Any] = {
        name: {key: round(statistics.median(values), 3) for key, values in figures.items()}
        for name, figures in times.items()
    }
    ratios = {
        f"{name}_vs_unix": {key: round(value / results["unix"][key], 3) for key, value in results[name].items()}
        for name in results
        if name != "unix"
    }
    machine = f"{len(os.sched_getaffinity(0))} cores, {platform.machine()}, Python {platform.python_version()}"
    return results | {"ratios": ratios, "rounds": rounds, "machine": machine}


async def serve(stack: AsyncExitStack, options: list[str], listen: str | None, **credentials: Path) -> NewClient:
    """Start an executor and return a factory of its clients."""
    services = await stack.enter_async_context(LocalServices())
    address = await services.start("executor", *options, listen=listen)
    return lambda: ExecutorClient(address, **credentials)


async def serve_secured(stack: AsyncExitStack, folder: Path) -> NewClient:
    """Start an executor with mutual TLS and tokens, and return a factory of its clients."""
    create_ca(folder / "authority", days=1)
    server, client = (
        issue_certificate(folder / "authority", name, [], ["127.0.0.1"], days=1) for name in ("executor", "client")
    )
    token, tokens, file = generate_token(), folder / "tokens.toml", folder / "token"
    write_client(tokens, "client", TokenClient(sha256=hash_token(token), scopes=frozenset({"execute"})))
    file.write_text(token)
    options = ["--tls", str(server), "--tokens", str(tokens)]
    return await serve(stack, options, "127.0.0.1:0", tls=client, token_file=file)


async def measure(new_client: NewClient) -> dict[str, float]:
    async with new_client() as client, client.session() as session:
        await median_ms(client.get_info, 20)  # warm-up
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
    durations = []
    for _ in range(times):
        started = time.perf_counter()
        await call()
        durations.append(1e3 * (time.perf_counter() - started))
    return statistics.median(durations)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="alternating rounds")
    arguments = parser.parse_args()
    measured = asyncio.run(main(arguments.rounds))
    RESULTS.write_text(json.dumps(measured, indent=2) + "\n")
    print(json.dumps(measured, indent=2))
