"""Prometheus metrics of a real executor, scraped over HTTP."""

import asyncio
import socket
import urllib.request
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import grpc
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.executor_process import Executor, kill, run_module, running

Samples = dict[str, float]


async def scrape(executor: Executor) -> Samples:
    """Return every sample by name and label value: `snippets_total{ok}`."""
    (line,) = executor.startup_lines
    url = f"http://{line.removeprefix('metrics on ')}/metrics"
    with await asyncio.to_thread(urllib.request.urlopen, url, timeout=5) as answer:
        text = answer.read().decode()
    return {
        sample.name.removeprefix("deepmath_executor_") + "".join(f"{{{value}}}" for value in sample.labels.values()): (
            sample.value
        )
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def until(executor: Executor, name: str, value: float) -> None:
    async with asyncio.timeout(10):
        while (await scrape(executor))[name] != value:  # noqa: ASYNC110 - the event is in another process
            await asyncio.sleep(0.05)


@pytest.fixture(scope="module")
async def metered(tmp_path_factory) -> AsyncIterator[Executor]:
    options = ("--metrics-listen=127.0.0.1:0", "--waiting-sandboxes=1", "--max-sessions=2")
    async with running(tmp_path_factory.mktemp("metered"), *options) as executor:
        yield executor


@pytest.fixture
async def before(metered) -> Samples:
    """The samples before the test."""
    await until(metered, "live_sessions", 0)
    return await scrape(metered)


def increase(before: Samples, after: Samples, name: str) -> Samples:
    """Return the increase of each sample with this name, by label value; unchanged ones are left out."""
    labels = [sample.removeprefix(name).strip("{}") for sample in after if sample.startswith(name)]
    grown = {label: after[sample] - before[sample] for label in labels for sample in [f"{name}{{{label}}}"]}
    return {label: value for label, value in grown.items() if value}


async def test_every_outcome_is_counted_once(metered, before):
    async with metered.session(client="a-client") as session:
        for code in ("1", "x = 2", "1 / 0", "y = = 2", "import os", "x = 1\nimport os", "bytes(1 << 40)"):
            await session.run(code)
        await session.run("while True: pass", wall_ms=50)
        await session.run("while True: pass", cpu_ms=50)
        await session.run("import random\nrandom._os._exit(1)")
        await session.run("while True: print('x' * 10**6)")
    await metered.execute("6 * 7")
    samples = await scrape(metered)
    assert increase(before, samples, "snippets_total") == {
        "ok": 3,
        "exception": 2,
        "policy_violation": 2,
        "out_of_memory": 1,
        "wall_timeout": 1,
        "cpu_timeout": 1,
        "crashed": 1,
        "output_limit": 1,
    }
    for name in ("wall_seconds_count", "queue_seconds_count"):
        assert samples[name] - before[name] == 12
    assert not any("a-client" in name for name in samples)


async def test_resent_result_is_not_counted_again(metered, before):
    async with metered.session() as session:
        await session.run("1")
        await session.send("1", sequence=1)
        await session.read()
        assert increase(before, await scrape(metered), "snippets_total") == {"ok": 1}


async def test_snippet_whose_client_disconnects_is_counted_as_abandoned(metered, before):
    async with metered.session() as session:
        await session.send("while True: pass", 1)
        await metered.until(lambda load: load.running_snippets == 1)
    await until(metered, "live_sessions", 0)
    samples = await scrape(metered)
    assert increase(before, samples, "snippets_total") == {"abandoned": 1}
    assert samples["wall_seconds_count"] == before["wall_seconds_count"]


async def test_load_gauges_are_current(metered, before):
    async with metered.session() as busy, metered.session():
        await busy.send("while True: pass", 1)
        await until(metered, "running_snippets", 1)
        await until(metered, "waiting_sandboxes", 1)
        samples = await scrape(metered)
        assert (samples["live_sessions"], samples["queued_snippets"]) == (2, 0)
        assert samples["open_seconds_count"] - before["open_seconds_count"] == 2


async def test_kill_latency_is_observed_for_each_kill(metered, before):
    deaf = "sum(range(10**12))"  # handles no signal until it ends
    assert (await metered.execute(deaf, wall_ms=100)).state_lost
    await until(metered, "kill_latency_seconds_count", before["kill_latency_seconds_count"] + 1)
    assert 0 < (await scrape(metered))["kill_latency_seconds_sum"] - before["kill_latency_seconds_sum"] < 5


async def test_refusals_are_counted_by_reason(metered, before):
    async with AsyncExitStack() as stack:
        for _ in range(2):
            await stack.enter_async_context(metered.session())
        with pytest.raises(grpc.aio.AioRpcError):
            await metered.execute("1")
    assert increase(before, await scrape(metered), "refusals_total") == {"sessions": 1}


async def test_zygote_replacement_is_counted(metered, before):
    kill(metered.zygote())
    await until(metered, "zygote_restarts_total", before["zygote_restarts_total"] + 1)
    assert (await metered.execute("1")).value == "1"


async def test_metrics_are_not_served_by_default(small_executor):
    listening = psutil.Process(small_executor.pid).net_connections("inet")
    assert (listening, small_executor.startup_lines) == ([], [])


async def test_metrics_address_in_use_is_reported():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        ended = await run_module("--metrics-listen", address)
    assert ended.status == 1
    assert f"cannot serve metrics on {address}: Address already in use" in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("address", ["9464", "localhost:", ":9464", "localhost:http", "localhost:65536"])
async def test_invalid_metrics_address_is_a_usage_error(address):
    ended = await run_module("--metrics-listen", address)
    assert ended.status == 2
    assert "metrics_listen: give HOST:PORT, such as 127.0.0.1:" in ended.err
