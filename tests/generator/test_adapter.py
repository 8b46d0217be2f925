"""A LoRA adapter given at the start is what samples, and trajectories say so."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from deepmath.clients import GeneratorClient
from deepmath.data.synthetic import generate
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath.local_stack.stack import EMBEDDED_MODEL, EMBEDDED_OPTIONS, LocalStack

RANK = 4
QUESTION = next(generate(1, "test", 0)).problem


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    """A random adapter on the first layer's query projection, in the form that peft writes."""
    model = json.loads((EMBEDDED_MODEL / "config.json").read_text())
    hidden, queries = model["hidden_size"], model["num_attention_heads"] * model["head_dim"]
    prefix = "base_model.model.model.layers.0.self_attn.q_proj"
    torch.manual_seed(0)
    weights = {
        f"{prefix}.lora_A.weight": torch.randn(RANK, hidden),
        f"{prefix}.lora_B.weight": torch.randn(queries, RANK),
    }
    save_file(weights, tmp_path / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": RANK, "lora_alpha": 8, "target_modules": ["q_proj"], "bias": "none"}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    return tmp_path


async def only_trajectory(client: GeneratorClient) -> pb.Trajectory:
    prompt = pb.RolloutPrompt(question=QUESTION)
    sampling, budget = pb.Sampling(temperature=0), pb.Budget(max_tokens=64)
    return (await anext(client.rollout([prompt], sampling=sampling, budget=budget))).trajectory


@pytest.mark.slow
async def test_adapter_changes_what_is_sampled_and_its_version_is_told(adapter, generator, executor_address) -> None:
    options = [*EMBEDDED_OPTIONS, "--adapter", str(adapter)]
    stack = LocalStack(str(EMBEDDED_MODEL), executor=executor_address, arguments={"generator": options})
    async with stack, GeneratorClient(stack.generator) as client:
        adapted = await only_trajectory(client)
        info = await client.get_info()
    plain = await only_trajectory(generator)
    assert {segment.policy_version for segment in adapted.segments if segment.source == pb.Segment.SOURCE_MODEL} == {1}
    assert info.policy_version == 1
    assert adapted.text != plain.text
