"""Metrics of the services, and their match with dashboard, alert rules and docs."""

import asyncio
import json
import re
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import promql_parser
import pytest
import yaml
from cryptography import x509
from deepmath_gateway.metrics import GatewayMetrics
from deepmath_trainer.metrics import RunMetrics
from deepmath_trainer.run_config_parser import parse_config, read_recipe
from deepmath_trainer.run_folder import RunFolder
from deepmath_trainer.run_registry import RunRegistry
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from support.executor_process import Executor, running
from support.secured import Authority, mount, swap

from deepmath import __version__
from deepmath.clients import TrainerClient
from deepmath.errors import DeepMathError
from deepmath.executor.v1 import executor_pb2 as executor_pb
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath.local_stack.local_services import LocalServices
from deepmath.observability.prometheus_metrics import PrometheusMetrics
from deepmath.observability.rpc_metrics import RpcMetrics
from deepmath.serving.grpc_config import GrpcServiceConfig
from deepmath.serving.grpc_server import GrpcServer

ROOT = Path(__file__).resolve().parents[2]
DASHBOARD = json.loads((ROOT / "deploy/observability/dashboard.json").read_text())
ALERTS = yaml.safe_load((ROOT / "deploy/observability/alerts.yaml").read_text())
DOCS = (ROOT / "docs/observability.md").read_text()
UNIT_TESTS = yaml.safe_load((ROOT / "tests/deploy/alert_rules.yaml").read_text())
OF_PROMETHEUS = {"up", "kube_job_failed"}  # made by the scrape, and by kube-state-metrics
OF_TARGETS = {"instance", "job", "namespace"}  # labels added by the scrape

Samples = dict[str, float]


def parsed(text: str) -> Samples:
    """Return every sample by its name and labels: `snippets_total{ok}`."""
    return {
        sample.name + "".join(f"{{{value}}}" for value in sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def page(address: str) -> str:
    with await asyncio.to_thread(urllib.request.urlopen, f"http://{address}/metrics", timeout=10) as answer:
        return answer.read().decode()


async def scraped(metrics: PrometheusMetrics) -> str:
    return (await asyncio.to_thread(generate_latest, metrics.registry)).decode()


async def until(metrics: RpcMetrics, name: str, value: float) -> Samples:
    async with asyncio.timeout(30):
        while (samples := parsed(await scraped(metrics))).get(f"deepmath_{metrics.service}_{name}") != value:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    return samples


def families(text: str) -> set[str]:
    """Return the names of all samples and families."""
    return {
        name
        for family in text_string_to_metric_families(text)
        for name in (family.name, *(sample.name for sample in family.samples))
    }


def address_of(executor: Executor) -> str:
    (line,) = executor.startup_lines
    return line.removeprefix("metrics on ")


@pytest.fixture
def run(tmp_path) -> RunFolder:
    """The folder of an active run."""
    folder = RunFolder(tmp_path / "a-run-by-hunter2")
    folder.path.mkdir()
    folder.write_config(parse_config(read_recipe("tiny-math")).to_yaml())
    folder.write_state(status="running", step=0, steps=9)
    return folder


def log_step(folder: RunFolder, step: int, **metrics: float) -> None:
    folder.append_metrics(step, {"reward": 0.5, "step_seconds": 2.0, "verify_timeouts": 0, **metrics})
    folder.write_state(step=step)


async def test_trajectories_are_counted_by_status_with_their_tokens_and_times(generator) -> None:
    before = parsed(await scraped(generator.metrics))
    trajectories = [
        response.trajectory
        async for response in generator.client.rollout([pb.RolloutPrompt(question="6 * 7?") for _ in range(4)])
    ]
    async for _ in generator.client.solve("6 * 7?"):
        pass
    after = parsed(await scraped(generator.metrics))
    grown = {name.removeprefix("deepmath_generator_"): after[name] - before.get(name, 0) for name in after}
    assert grown["trajectories_total{answered}"] == 5
    assert grown["sampled_tokens_total"] == 5 / 4 * sum(one.model_tokens for one in trajectories)
    assert grown["tool_tokens_total"] == 5 / 4 * sum(one.tool_tokens for one in trajectories)
    assert grown["segment_seconds_count"] == 10
    assert grown["first_token_seconds_count"] == 2  # of the streamed trajectory
    assert (grown["snippets_total{ok}"], grown["snippet_seconds_count"], grown["queue_seconds_count"]) == (5, 5, 5)
    assert 0 < grown["engine_busy_seconds_total"] < grown["segment_seconds_sum"] + 1
    calls = "rpcs_total{deepmath.generator.v1.GeneratorService/%s}{ok}"
    assert (grown[calls % "Rollout"], grown[calls % "Solve"]) == (1, 1)
    for name in ("live_trajectories", "waiting_trajectories", "running_snippets"):
        assert after[f"deepmath_generator_{name}"] == 0


async def test_generator_at_capacity_counts_waiting_trajectories(generating, tmp_path) -> None:
    """Without an executor, running trajectories wait for one, and further ones for a slot."""
    async with generating(tmp_path / "nobody", max_trajectories=2) as generator:
        prompts = [pb.RolloutPrompt(question="6 * 7?") for _ in range(5)]
        call = asyncio.create_task(anext(generator.client.rollout(prompts)))
        samples = await until(generator.metrics, "running_snippets", 2)
        assert samples["deepmath_generator_live_trajectories"] == 2
        assert samples["deepmath_generator_waiting_trajectories"] == 3
        info = await generator.client.get_info()
        assert (info.live_trajectories, info.waiting_trajectories) == (2, 3)
        assert (await call).trajectory.status == pb.STATUS_INFRASTRUCTURE_FAILED
        samples = parsed(await scraped(generator.metrics))
        assert samples["deepmath_generator_trajectories_total{infrastructure_failed}"] >= 1
        assert samples["deepmath_generator_executor_failures_total"] >= 1


async def test_trajectory_of_a_client_that_leaves_is_counted_as_cancelled(generating, tmp_path) -> None:
    async with generating(tmp_path / "nobody") as generator:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await anext(generator.client.rollout([pb.RolloutPrompt(question="6 * 7?")]))
        await until(generator.metrics, "trajectories_total{cancelled}", 1)
        rollout = "deepmath.generator.v1.GeneratorService/Rollout"
        await until(generator.metrics, f"rpcs_total{{{rollout}}}{{cancelled}}", 1)


async def test_calls_are_counted_by_status(observed) -> None:
    before = parsed(await page(address_of(observed)))
    await observed.execute("1")
    with pytest.raises(grpc.aio.AioRpcError):
        await observed.execute("\0")
    with pytest.raises(grpc.aio.AioRpcError):
        await observed.channel.unary_unary("/hunter2.Service/Method")(b"")
    after = parsed(await page(address_of(observed)))
    execute = "deepmath_executor_rpcs_total{deepmath.executor.v1.ExecutorService/Execute}{%s}"
    for name in (execute % "ok", execute % "invalid_argument", "deepmath_executor_rpcs_total{unknown}{unimplemented}"):
        assert after[name] - before.get(name, 0) == 1
    assert after[f"deepmath_executor_build_info{{{__version__}}}"] == 1


async def test_no_label_takes_a_value_chosen_by_a_client(observed, generator, run) -> None:
    async with observed.session(session_id="hunter2", client="hunter2"):
        pass
    with pytest.raises(grpc.aio.AioRpcError):
        await observed.channel.unary_unary("/deepmath.hunter2/hunter2")(b"")
    with pytest.raises(DeepMathError):
        async for _ in generator.client.rollout([pb.RolloutPrompt(id="hunter2", question="")]):
            pass
    trainer = RunMetrics(RunRegistry(run.path.parent, 1))
    for text in (await page(address_of(observed)), await scraped(generator.metrics), await scraped(trainer)):
        assert text
        assert "hunter2" not in text


async def test_active_run_exposes_its_last_step_and_the_time_since(run) -> None:
    with run.hold():
        metrics = RunMetrics(RunRegistry(run.path.parent, 1))
        verdicts = {"verdict_same_value": 2, "verdict_answer_timeout": 1}
        log_step(
            run, 1, accuracy=0.25, generator_idle=0.5, trainer_idle=0.125, staleness=1.0, verify_timeouts=2, **verdicts
        )
        log_step(run, 2, accuracy=0.75, verify_timeouts=3, infrastructure_failures=4, verdict_same_value=3)
        samples = {
            name.removeprefix("deepmath_trainer_"): value for name, value in parsed(await scraped(metrics)).items()
        }
    assert (samples["runs{running}"], samples["runs{failed}"]) == (1, 0)
    assert (samples["step"], samples["steps_total"], samples["step_seconds_sum"]) == (2, 2, 4)
    assert (samples["reward"], samples["accuracy_ratio"]) == (0.5, 0.75)
    assert (samples["verify_timeouts_total"], samples["infrastructure_failures_total"]) == (3, 4)
    counts = {name: count for name, count in samples.items() if name.startswith("verdicts_total") and count}
    assert counts == {"verdicts_total{same_value}": 5, "verdicts_total{answer_timeout}": 1}
    assert 0 <= samples["since_step_seconds"] < 60


async def test_steps_are_counted_once_and_a_restarted_worker_counts_from_zero(run) -> None:
    with run.hold():
        log_step(run, 1, verify_timeouts=5)
        metrics = RunMetrics(RunRegistry(run.path.parent, 1))
        log_step(run, 2, verify_timeouts=7)
        await scraped(metrics)
        log_step(run, 3, verify_timeouts=1)
        samples = parsed(await scraped(metrics))
    assert samples["deepmath_trainer_steps_total"] == 2
    assert samples["deepmath_trainer_verify_timeouts_total"] == 3


async def test_stalled_run_shows_in_the_time_since_its_last_step(run) -> None:
    with run.hold():
        run.write_state(updated=time.time() - 5000)
        metrics = RunMetrics(RunRegistry(run.path.parent, 1))
        assert 4990 < parsed(await scraped(metrics))["deepmath_trainer_since_step_seconds"] < 5060


async def test_ended_runs_have_no_step_metrics(run) -> None:
    log_step(run, 1)
    run.write_state(status="done")
    metrics = RunMetrics(RunRegistry(run.path.parent, 1))
    samples = parsed(await scraped(metrics))
    assert samples["deepmath_trainer_runs{done}"] == 1
    assert not {"deepmath_trainer_reward", "deepmath_trainer_since_step_seconds"} & set(samples)


async def test_trainer_serves_its_metrics(run, free_port) -> None:
    run.write_state(status="stopped")
    address = f"127.0.0.1:{free_port}"
    async with LocalServices() as local:
        trainer = await local.start("trainer", "--runs", str(run.path.parent), "--metrics-listen", address)
        async with TrainerClient(trainer) as client:
            await client.list_runs()
        samples = parsed(await page(address))
    assert samples["deepmath_trainer_runs{stopped}"] == 1
    assert samples["deepmath_trainer_rpcs_total{deepmath.trainer.v1.TrainerService/ListRuns}{ok}"] == 1


async def test_executor_full_of_idle_sessions_shows_it(tmp_path) -> None:
    """Idle sessions use no CPU and queue nothing: only their number says that the next one is refused."""
    options = ("--metrics-listen=127.0.0.1:0", "--max-sessions=4", "--waiting-sandboxes=0")
    async with (
        running(tmp_path, *options) as executor,
        executor.session() as one,
        executor.session(),
        executor.session(),
    ):
        await one.run("x = b'x' * (32 << 20)\nsum(i * i for i in range(10**6))")
        busy = parsed(await page(address_of(executor)))
        async with executor.session():
            full = parsed(await page(address_of(executor)))
            with pytest.raises(grpc.aio.AioRpcError):
                await executor.execute("1")
            refused = parsed(await page(address_of(executor)))
    name = "deepmath_executor_%s"
    assert (busy[name % "live_sessions"], busy[name % "maximum_sessions"]) == (3, 4)
    assert (busy[name % "occupancy_ratio"], full[name % "occupancy_ratio"]) == (0.75, 1)
    assert (full[name % "slot_demand_ratio"], full[name % "queued_snippets"]) == (0, 0)
    assert refused[name % "refusals_total{sessions}"] == 1
    assert 0 < busy[name % "sandbox_cpu_seconds_total"] <= full[name % "sandbox_cpu_seconds_total"]
    memory = [full[name % f"sandbox_memory_{which}bytes"] for which in ("", "reserved_", "limit_")]
    assert 0 < memory[0] < memory[2]
    assert 0 < memory[1] < memory[2]


async def test_processor_time_of_a_closed_session_stays_counted(tmp_path) -> None:
    async with running(tmp_path, "--metrics-listen=127.0.0.1:0", "--waiting-sandboxes=0") as executor:
        used = []
        for _ in range(3):
            async with executor.session() as session:
                await session.run("sum(i * i for i in range(10**6))")
            used.append(parsed(await page(address_of(executor)))["deepmath_executor_sandbox_cpu_seconds_total"])
    assert used == sorted(used)
    assert used[0] < used[2]


async def test_series_of_calls_exist_before_the_first_call(generator) -> None:
    samples = parsed(await scraped(generator.metrics))
    rpcs = [name for name in samples if "rpcs_total{deepmath.generator.v1.GeneratorService/LoadCheckpoint}" in name]
    assert len(rpcs) == len(grpc.StatusCode)
    assert all(samples[name] == 0 for name in rpcs)
    assert samples["deepmath_generator_serving"] == 1


async def test_certificate_expiry_is_that_of_the_served_certificate_and_follows_a_renewal(tmp_path) -> None:
    authority = Authority(tmp_path / "ca")
    volume = mount(tmp_path / "tls", authority.issue("one"))
    metrics = RpcMetrics("executor")
    server = await GrpcServer.start(GrpcServiceConfig(listen="127.0.0.1:0", tls=volume), {}, metrics)
    name = "deepmath_executor_certificate_expiry_timestamp_seconds"
    try:
        first = parsed(await scraped(metrics))[name]
        assert first == not_after(volume)
        swap(volume, authority.issue_expired("one"))
        async with asyncio.timeout(20):
            while (now := parsed(await scraped(metrics))[name]) == first:  # noqa: ASYNC110 - a file changed
                await asyncio.sleep(0.2)
        assert now == not_after(volume) < time.time()
    finally:
        await server.stop(0)


def not_after(folder: Path) -> float:
    certificate = x509.load_pem_x509_certificate((folder / "tls.crt").read_bytes())
    return certificate.not_valid_after_utc.timestamp()


async def test_latest_failure_of_a_run_has_its_time(run) -> None:
    metrics = RunMetrics(RunRegistry(run.path.parent, 1))
    run.write_state(status="done", updated=1000.0)
    name = "deepmath_trainer_last_failure_timestamp_seconds"
    assert parsed(await scraped(metrics))[name] == 0
    run.write_state(status="failed", updated=2000.0)
    assert parsed(await scraped(metrics))[name] == 2000


async def test_resumed_run_is_not_stalled_since_its_old_step(run) -> None:
    with run.hold():
        log_step(run, 1)
        run.append_metrics(1, {"step_seconds": 2.0})
        run.write_state(status="starting", updated=time.time() - 10)
        line = json.loads(run.metrics.read_text().splitlines()[-1])
        run.metrics.write_text(json.dumps(line | {"time": time.time() - 90_000}) + "\n")
        metrics = RunMetrics(RunRegistry(run.path.parent, 1))
        assert 9 < parsed(await scraped(metrics))["deepmath_trainer_since_step_seconds"] < 70


@pytest.fixture
async def exposed(observed, generator, run) -> set[str]:
    """The names of all metrics of the four services."""
    return set().union(*map(families, await pages(observed, generator, run)))


async def pages(observed, generator, run) -> list[str]:
    """Return a page of metrics of each of the services, and of one with TLS."""
    await observed.execute("1")
    await generator.client.get_info()
    with run.hold():
        trainer = RunMetrics(RunRegistry(run.path.parent, 1))
        trainer.record_call("deepmath.trainer.v1.TrainerService/GetRun", "OK", 0.1)  # as by a server with this method
        last = ("accuracy", "staleness", "generator_idle", "trainer_idle", "flat_groups", "pool_in_reach")
        log_step(run, 1, **dict.fromkeys(last, 0.5))
        found = [await page(address_of(observed)), await scraped(generator.metrics), await scraped(trainer)]
    gateway = GatewayMetrics()
    gateway.expect_requests(["openai"])
    gateway.watch_state(lambda: 0)
    gateway.watch_sessions(lambda: 0)
    found.append(await scraped(gateway))
    for service in ("executor", "generator", "trainer", "gateway"):
        secured = PrometheusMetrics(service)
        secured.watch_certificate(time.time)  # as by a server with TLS
        found.append(await scraped(secured))
    return found


def selected(expression: Any) -> Iterator[str]:
    """Yield the names of the metrics that an expression reads."""
    if isinstance(expression, promql_parser.VectorSelector):
        assert expression.name, f"{expression} selects by something other than a name"
        yield expression.name
    for part in ("expr", "lhs", "rhs", "vector_selector", "param"):
        if (inner := getattr(expression, part, None)) is not None:
            yield from selected(inner)
    for argument in getattr(expression, "args", ()):
        yield from selected(argument)


def parse(expression: str) -> Any:
    return promql_parser.parse(expression.replace("$__rate_interval", "5m"))


PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = [(panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"]]
RULES = [(rule["alert"], rule["expr"]) for group in ALERTS["groups"] for rule in group["rules"]]


@pytest.mark.parametrize(("name", "expression"), QUERIES + RULES, ids=lambda value: value[:30])
def test_query_is_valid_promql_and_reads_a_metric(name, expression) -> None:
    assert list(selected(parse(expression)))


@pytest.mark.parametrize("queries", [QUERIES, RULES], ids=["dashboard", "alerts"])
async def test_every_metric_in_a_query_is_exposed(exposed, queries) -> None:
    read_there = {name for _, expression in queries for name in selected(parse(expression))}
    assert read_there - exposed - OF_PROMETHEUS == set()


async def test_series_in_the_unit_tests_of_the_alerts_are_exposed_with_their_labels(observed, generator, run) -> None:
    exposed = {
        (sample.name, frozenset(sample.labels))
        for text in await pages(observed, generator, run)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    for test in UNIT_TESTS["tests"]:
        for series in test["input_series"]:
            selector = parse(series["series"])
            labels = {matcher.name for matcher in selector.matchers.matchers} - OF_TARGETS
            assert selector.name in OF_PROMETHEUS or (selector.name, frozenset(labels)) in exposed, series


async def test_dashboard_shows_every_metric(exposed) -> None:
    shown = {re.sub("_(bucket|sum|count)$", "", name) for _, query in QUERIES for name in selected(parse(query))}
    ours = {bare(name) for name in exposed if name.startswith("deepmath_")}
    assert ours - {bare(name) for name in shown} == set()


COMMON = (
    "rpcs_total",
    "rpc_seconds",
    "serving",
    "certificate_expiry_timestamp_seconds",
    "build_info",
    "log_lines_lost_total",
)


async def test_docs_list_exactly_the_exposed_metrics(exposed) -> None:
    documented = set(re.findall(r"^\| `(deepmath_\w+)", DOCS, re.MULTILINE))
    common = [f"deepmath_executor_{name}" for name in COMMON]
    assert documented.issuperset(common)
    documented |= {name.replace("executor", other) for name in common for other in ("generator", "trainer")}
    documented |= {f"deepmath_gateway_{name}" for name in COMMON if not name.startswith("rpc")}
    assert {bare(name) for name in documented} == {bare(name) for name in exposed if name.startswith("deepmath_")}


def bare(name: str) -> str:
    return re.sub("_(bucket|sum|count|total|created)$", "", name)


def test_docs_list_exactly_the_alerts() -> None:
    assert set(re.findall(r"^\| `(DeepMath\w+)`", DOCS, re.MULTILINE)) == {name for name, _ in RULES}


def test_panels_have_unique_ids_and_do_not_overlap() -> None:
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    taken = [
        (x, y)
        for panel in DASHBOARD["panels"]
        for at in [panel["gridPos"]]
        for x in range(at["x"], at["x"] + at["w"])
        for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(set(taken)) == len(taken)
    assert max(x for x, _ in taken) < 24


def test_outcomes_and_statuses_in_rules_are_in_the_contracts() -> None:
    rules = " ".join(expression for _, expression in RULES)
    outcomes = {name.removeprefix("OUTCOME_").lower() for name in dict(executor_pb.Outcome.items())}
    statuses = {name.removeprefix("STATUS_").lower() for name in dict(pb.Status.items())}
    assert set(re.findall('outcome="(.*?)"', rules)) <= outcomes
    assert set(re.findall('trajectories_total{status="(.*?)"', rules)) <= statuses
