"""Adapters come in whole or not at all, each a new version, and a segment is all of one version."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from support.adapters import MODEL, write_adapter
from transformers import AutoModelForCausalLM

from deepmath.clients.generator_client import _describe, _messages
from deepmath.errors import InvalidRequest, WrongOrder
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath.local_stack.stack import EMBEDDED_MODEL

from .test_trajectory_ids import QUESTIONS, largest_difference


async def versions(learner) -> tuple[int, list[int]]:
    info = await learner.client.get_info()
    return info.policy_version, list(info.loaded_policy_versions)


async def test_new_version_changes_what_is_sampled_and_segments_say_so(learner, prompt_ids, tmp_path) -> None:
    samples = [await learner.sample(prompt_ids)]
    for version in (1, 2):
        adapter = write_adapter(tmp_path / str(version), seed=version)
        assert await learner.client.update_adapter(adapter, version) == version
        samples.append(await learner.sample(prompt_ids))
    assert [sample.policy_version for sample in samples] == [0, 1, 2]
    assert len({tuple(sample.token_ids) for sample in samples}) == 3


async def test_segment_in_flight_keeps_its_version_beside_the_next(learner, prompt_ids, tmp_path) -> None:
    adapters = [write_adapter(tmp_path / str(version), seed=version) for version in (1, 2)]
    await learner.client.update_adapter(adapters[0], 1)
    alone = await learner.sample(prompt_ids, max_tokens=400)
    begun = asyncio.Event()
    in_flight = asyncio.create_task(learner.sample(prompt_ids, max_tokens=400, on_tokens=lambda token_ids: begun.set()))
    await begun.wait()
    await learner.client.update_adapter(adapters[1], 2)
    next_one = await learner.sample(prompt_ids)
    assert not in_flight.done()
    assert (await versions(learner)) == (2, [0, 1, 2])
    disturbed = await in_flight
    assert disturbed.policy_version == 1
    assert disturbed.token_ids == alone.token_ids
    assert next_one.policy_version == 2
    assert next_one.token_ids == (await learner.sample(prompt_ids)).token_ids != alone.token_ids[:48]


async def test_versions_that_no_segment_uses_are_unloaded(learner, tmp_path) -> None:
    for version in range(1, 6):
        await learner.client.update_adapter(write_adapter(tmp_path / str(version), seed=version), version)
    async with asyncio.timeout(5):
        while await learner.loaded_adapters() > 1:  # noqa: ASYNC110  (the engine's own process has no event for us)
            await asyncio.sleep(0.02)
    assert await versions(learner) == (5, [0, 5])


async def test_same_version_with_the_same_files_is_answered_again(learner, prompt_ids, tmp_path) -> None:
    adapter = write_adapter(tmp_path / "1", seed=1)
    for _ in range(2):
        assert await learner.client.update_adapter(adapter, 1) == 1
    assert await learner.loaded_adapters() == 1


@pytest.mark.parametrize(
    ("version", "message"), [(2, r"policy_version 2 .* is at 3;"), (3, "policy_version 3 .* with another content")]
)
async def test_version_that_is_not_new_is_refused(learner, tmp_path, version: int, message: str) -> None:
    await learner.client.update_adapter(write_adapter(tmp_path / "a", seed=1), 3)
    with pytest.raises(WrongOrder, match=message):
        await learner.client.update_adapter(write_adapter(tmp_path / "b", seed=2), version)
    assert await versions(learner) == (3, [0, 3])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank": 64}, "rank 64, and this generator takes 32; .*--max-lora-rank"),
        ({"peft_type": "IA3"}, "only LORA"),
        ({"bias": "all"}, "bias"),
        ({"modules_to_save": ["lm_head"]}, "whole modules"),
        ({"use_dora": True}, "DoRA"),
        ({"r": 4}, "is 8 x .*; 4 x .* fits"),
        ({"base_model_name_or_path": "Qwen/Qwen3-4B"}, f"Qwen/Qwen3-4B, .* serves {MODEL}"),
        ({"init_lora_weights": "pissa"}, "vLLM cannot serve the adapter: .*PiSSA"),
    ],
)
async def test_adapter_that_does_not_fit_is_refused(learner, tmp_path, options: dict, message: str) -> None:
    await learner.client.update_adapter(write_adapter(tmp_path / "a", seed=1), 1)
    with pytest.raises(InvalidRequest, match=message):
        await learner.client.update_adapter(write_adapter(tmp_path / "b", seed=2, **options), 2, MODEL)
    assert await versions(learner) == (1, [0, 1])
    assert await learner.loaded_adapters() == 1


async def test_adapter_of_another_model_is_refused(learner, tmp_path) -> None:
    with pytest.raises(InvalidRequest, match=rf"'other', and this generator serves '{MODEL}'"):
        await learner.client.update_adapter(write_adapter(tmp_path / "a", seed=1), 1, "other")


async def test_adapter_of_a_layer_that_the_model_lacks_is_refused(learner, tmp_path) -> None:
    adapter = write_adapter(tmp_path / "a", seed=1)
    tensors = load_file(adapter / "adapter_model.safetensors")
    layer = "base_model.model.model.layers.4.self_attn.q_proj.lora_A.weight"
    save_file(tensors | {layer: torch.zeros(8, 192)}, adapter / "adapter_model.safetensors")
    with pytest.raises(InvalidRequest, match=rf"{layer}; only matrices A and B of the linear layers of {MODEL}"):
        await learner.client.update_adapter(adapter, 1)


async def test_adapter_that_does_not_say_its_model_is_refused_before_anything_is_sent(learner, tmp_path) -> None:
    adapter = write_adapter(tmp_path / "a", seed=1, base_model_name_or_path=None)
    with pytest.raises(InvalidRequest, match="base_model_name_or_path"):
        await learner.client.update_adapter(adapter, 1)


async def test_folder_without_an_adapter_is_refused_before_anything_is_sent(learner, tmp_path) -> None:
    with pytest.raises(InvalidRequest, match="no adapter at"):
        await learner.client.update_adapter(tmp_path, 1)


async def whole(adapter: Path, version: int = 2) -> list[pb.UpdateAdapterRequest]:
    header = pb.AdapterHeader(policy_version=version, model=MODEL, files=_describe(adapter))
    return [message async for message in _messages(adapter, header)]


def wrong_checksum(messages: list[pb.UpdateAdapterRequest]) -> None:
    messages[0].header.files[1].sha256 = hashlib.sha256(b"").hexdigest()


def torn(messages: list[pb.UpdateAdapterRequest]) -> None:
    del messages[-1]


def unknown_name(messages: list[pb.UpdateAdapterRequest]) -> None:
    messages[0].header.files[1].name = "../adapter_model.safetensors"


def oversize(messages: list[pb.UpdateAdapterRequest]) -> None:
    messages[0].header.files[1].size_bytes = (4 << 20) + 1


def more_than_promised(messages: list[pb.UpdateAdapterRequest]) -> None:
    messages.append(messages[-1])


def no_header(messages: list[pb.UpdateAdapterRequest]) -> None:
    del messages[0]


def out_of_order(messages: list[pb.UpdateAdapterRequest]) -> None:
    messages[1:] = messages[:0:-1]


def no_version(messages: list[pb.UpdateAdapterRequest]) -> None:
    messages[0].header.policy_version = 0


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (wrong_checksum, "adapter_model.safetensors: the SHA-256"),
        (torn, "adapter_model.safetensors: 0 of its"),
        (unknown_name, "must have adapter_config.json and adapter_model.safetensors"),
        (oversize, "adapter_model.safetensors has 4194305 bytes; from 1 to 4194304"),
        (more_than_promised, "more came than the header promised"),
        (no_header, "first message"),
        (out_of_order, "one after another"),
        (no_version, "policy_version is 0"),
    ],
)
async def test_spoilt_upload_is_refused_and_the_version_before_is_served(
    learner, prompt_ids, tmp_path, spoil, message: str
) -> None:
    await learner.client.update_adapter(write_adapter(tmp_path / "a", seed=1), 1)
    before = await learner.sample(prompt_ids)
    messages = await whole(write_adapter(tmp_path / "b", seed=2))
    spoil(messages)
    with pytest.raises(grpc.aio.AioRpcError, match=message) as refused:
        await learner.client.stub.UpdateAdapter(iter(messages))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert await versions(learner) == (1, [0, 1])
    assert (await learner.sample(prompt_ids)).token_ids == before.token_ids


async def test_upload_whose_client_goes_away_leaves_the_next_one_free(learner, tmp_path) -> None:
    messages = await whole(write_adapter(tmp_path / "a", seed=1), version=1)
    sent = asyncio.Event()

    async def forever() -> AsyncIterator[pb.UpdateAdapterRequest]:
        for message in messages[:2]:
            yield message
        sent.set()
        await asyncio.Event().wait()

    call = learner.client.stub.UpdateAdapter(forever())
    await sent.wait()
    call.cancel()
    assert await learner.client.update_adapter(write_adapter(tmp_path / "b", seed=2), 1) == 1


@pytest.mark.parametrize("temperature", [0.7, 1.2])
async def test_log_probabilities_are_those_of_transformers_and_peft(
    solve, learner, tmp_path, temperature: float
) -> None:
    adapter = write_adapter(tmp_path / "a", seed=1, rank=32, strength=0.02)
    await learner.client.update_adapter(adapter, 1)
    runs = await asyncio.gather(
        *(
            solve(question, seed=9, temperature=temperature, engine=learner.engine, max_tokens=256)
            for question in QUESTIONS[:16]
        )
    )
    base = AutoModelForCausalLM.from_pretrained(EMBEDDED_MODEL, dtype=torch.float32)
    without = max(largest_difference(base, run, temperature) for run in runs)
    model = PeftModel.from_pretrained(base, adapter)
    assert max(largest_difference(model, run, temperature) for run in runs) < 1e-3
    assert without > 0.1, "the adapter changes nothing: the comparison says nothing"
