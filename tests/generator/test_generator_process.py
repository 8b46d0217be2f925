"""The generator as a process: its initial adapter, and its end when the engine dies."""

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import grpc
import psutil
import pytest
from grpc_health.v1 import health_pb2
from support.health import health_stub

from deepmath.clients import GeneratorClient
from deepmath.data.synthetic import generate
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath.local_stack.stack import EMBEDDED_MODEL, EMBEDDED_OPTIONS, LocalStack

pytestmark = [pytest.mark.slow, pytest.mark.vllm]

RANK = 4
QUESTION = next(generate(1, "test", 0)).problem


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random adapter on the first layer's query projection, in peft's format."""
    import torch
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("adapter")
    model = json.loads((EMBEDDED_MODEL / "config.json").read_text())
    hidden, queries = model["hidden_size"], model["num_attention_heads"] * model["head_dim"]
    prefix = "base_model.model.model.layers.0.self_attn.q_proj"
    torch.manual_seed(0)
    weights = {
        f"{prefix}.lora_A.weight": torch.randn(RANK, hidden),
        f"{prefix}.lora_B.weight": torch.randn(queries, RANK),
    }
    save_file(weights, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": RANK, "lora_alpha": 8, "target_modules": ["q_proj"], "bias": "none"}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


async def trajectory_of(client: GeneratorClient) -> pb.Trajectory:
    prompt = pb.RolloutPrompt(question=QUESTION)
    sampling, budget = pb.Sampling(temperature=0), pb.Budget(max_tokens=64)
    return (await anext(client.rollout([prompt], sampling=sampling, budget=budget))).trajectory


def kill_engine(generator: asyncio.subprocess.Process) -> None:
    for child in psutil.Process(generator.pid).children():
        if "deepmath.observability.output_relay" not in child.cmdline():
            child.kill()


@dataclass
class AdaptedRun:
    """Observations of a generator that starts with an adapter and whose engine is killed under a trajectory."""

    adapted: pb.Trajectory
    info: pb.GetInfoResponse
    interrupted: pb.Trajectory
    exit_status: int


@pytest.fixture(scope="module")
async def adapted_run(adapter, executor_address) -> AdaptedRun:
    options = {"generator": [*EMBEDDED_OPTIONS, "--adapter", str(adapter)]}
    async with LocalStack(str(EMBEDDED_MODEL), executor=executor_address, arguments=options) as stack:
        (process,) = stack.processes
        async with GeneratorClient(stack.generator) as client:
            adapted, info = await trajectory_of(client), await client.get_info()
            kill_engine(process)
            interrupted = await trajectory_of(client)
        async with asyncio.timeout(60):
            return AdaptedRun(adapted, info, interrupted, await process.wait())


async def test_initial_adapter_changes_the_samples_and_is_policy_version_1(adapted_run, generator) -> None:
    plain, adapted = await trajectory_of(generator), adapted_run.adapted
    assert {segment.policy_version for segment in adapted.segments if segment.source == pb.Segment.SOURCE_MODEL} == {1}
    assert adapted_run.info.policy_version == 1
    assert adapted.text != plain.text


def test_killed_engine_fails_the_trajectory_and_stops_the_service(adapted_run) -> None:
    assert adapted_run.interrupted.status == pb.STATUS_INFRASTRUCTURE_FAILED
    assert "engine has died" in adapted_run.interrupted.notes[-1]
    assert adapted_run.exit_status == 1


@dataclass
class IdleDeath:
    """Observations of a generator whose engine is killed while it is idle."""

    healths: list[int]
    exit_status: int
    log: list[str]


@pytest.fixture(scope="module")
async def idle_death(executor_address) -> IdleDeath:
    options = {"generator": [*EMBEDDED_OPTIONS, "--log-format=json", "--log-level=info", "--drain-seconds=1"]}
    async with LocalStack(str(EMBEDDED_MODEL), executor=executor_address, arguments=options) as stack:
        (process,) = stack.processes
        async with grpc.aio.insecure_channel(stack.generator) as channel:
            watch = health_stub(channel).Watch(health_pb2.HealthCheckRequest())
            healths = [(await anext(aiter(watch))).status]
            kill_engine(process)
            async with asyncio.timeout(60):
                with suppress(grpc.aio.AioRpcError):  # the service exits
                    async for answer in watch:
                        healths.append(answer.status)
                exit_status = await process.wait()
        return IdleDeath(healths, exit_status, (stack.folder / "generator.log").read_text().splitlines())


def test_engine_killed_while_idle_stops_the_service_after_a_health_change(idle_death) -> None:
    serving = health_pb2.HealthCheckResponse.ServingStatus
    assert idle_death.healths == [serving.Value("SERVING"), serving.Value("NOT_SERVING")]
    assert idle_death.exit_status == 1


def test_every_line_of_a_json_logging_generator_is_an_object(idle_death) -> None:
    """Lines that the processes of vLLM print are objects, and so is the last line."""
    records = list(map(json.loads, idle_death.log))
    assert {record["service"] for record in records} == {"generator"}
    assert {type(record["time"]) for record in records} == {str}
    assert any(record["logger"] == "output" for record in records)
    assert records[-1]["message"].startswith("deepmath serve generator: the service has lost a dependency")
    assert records[-1]["level"] == "error"
