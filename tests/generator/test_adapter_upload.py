"""Adapter uploads: accepted completely or not at all, each a new policy version, one version per segment."""

import asyncio
import hashlib
import math
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
import torch
from safetensors.torch import load_file, save_file
from support.adapters import MODEL, write_adapter
from support.token_scoring import QUESTIONS, largest_difference

from deepmath.clients.generator_client import _describe, _messages
from deepmath.clients.model_files import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from deepmath.errors import InvalidRequest, WrongOrder
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath.local_stack.stack import EMBEDDED_MODEL


async def versions(updatable) -> tuple[int, list[int]]:
    info = await updatable.client.get_info()
    return info.policy_version, list(info.loaded_policy_versions)


async def test_new_version_changes_the_samples_and_segments_report_it(updatable, prompt_ids, tmp_path) -> None:
    samples = [await updatable.sample(prompt_ids)]
    for version in (1, 2):
        adapter = write_adapter(tmp_path / str(version), seed=version)
        assert await updatable.client.update_adapter(adapter, version) == version
        samples.append(await updatable.sample(prompt_ids))
    assert [sample.policy_version for sample in samples] == [0, 1, 2]
    assert len({tuple(sample.token_ids) for sample in samples}) == 3


async def test_running_segment_keeps_its_version_while_the_next_one_starts(updatable, prompt_ids, tmp_path) -> None:
    adapters = [write_adapter(tmp_path / str(version), seed=version) for version in (1, 2)]
    await updatable.client.update_adapter(adapters[0], 1)
    alone = await updatable.sample(prompt_ids, max_tokens=400)
    started = asyncio.Event()
    running = asyncio.create_task(updatable.sample(prompt_ids, max_tokens=400, on_tokens=lambda _: started.set()))
    await started.wait()
    await updatable.client.update_adapter(adapters[1], 2)
    following = await updatable.sample(prompt_ids)
    assert not running.done()
    assert (await versions(updatable)) == (2, [0, 1, 2])
    overlapped = await running
    assert overlapped.policy_version == 1
    assert overlapped.token_ids == alone.token_ids
    assert following.policy_version == 2
    assert following.token_ids == (await updatable.sample(prompt_ids)).token_ids != alone.token_ids[:48]


async def test_unused_versions_are_unloaded(updatable, tmp_path) -> None:
    for version in range(1, 6):
        await updatable.client.update_adapter(write_adapter(tmp_path / str(version), seed=version), version)
    async with asyncio.timeout(5):
        while await updatable.loaded_adapters() > 1:  # noqa: ASYNC110  (state of another process)
            await asyncio.sleep(0.02)
    assert await versions(updatable) == (5, [0, 5])


async def test_repeated_upload_of_the_same_files_succeeds(updatable, prompt_ids, tmp_path) -> None:
    adapter = write_adapter(tmp_path / "1", seed=1)
    for _ in range(2):
        assert await updatable.client.update_adapter(adapter, 1) == 1
    assert await updatable.loaded_adapters() == 1


@pytest.mark.parametrize(
    ("version", "message"), [(2, r"policy_version 2 .* is at 3;"), (3, "policy_version 3 .* with different content")]
)
async def test_version_that_is_not_new_is_rejected(updatable, tmp_path, version: int, message: str) -> None:
    await updatable.client.update_adapter(write_adapter(tmp_path / "a", seed=1), 3)
    with pytest.raises(WrongOrder, match=message):
        await updatable.client.update_adapter(write_adapter(tmp_path / "b", seed=2), version)
    assert await versions(updatable) == (3, [0, 3])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank": 64}, "rank 64, and this generator accepts 32; .*--max-lora-rank"),
        ({"peft_type": "IA3"}, "only LORA"),
        ({"bias": "all"}, "bias"),
        ({"modules_to_save": ["lm_head"]}, "whole modules"),
        ({"use_dora": True}, "DoRA"),
        ({"r": 4}, "is 8 x .*; expected 4 x .*"),
        ({"base_model_name_or_path": "Qwen/Qwen3-4B"}, f"Qwen/Qwen3-4B, .* serves {MODEL}"),
        ({"init_lora_weights": "pissa"}, "vLLM cannot serve the adapter: .*PiSSA"),
    ],
)
async def test_adapter_that_does_not_fit_is_rejected(
    updatable, tmp_path, options: dict[str, Any], message: str
) -> None:
    await updatable.client.update_adapter(write_adapter(tmp_path / "a", seed=1), 1)
    with pytest.raises(InvalidRequest, match=message):
        await updatable.client.update_adapter(write_adapter(tmp_path / "b", seed=2, **options), 2, MODEL)
    assert await versions(updatable) == (1, [0, 1])
    assert await updatable.loaded_adapters() == 1


async def test_adapter_of_another_model_is_rejected(updatable, tmp_path) -> None:
    with pytest.raises(InvalidRequest, match=rf"'other', and this generator serves '{MODEL}'"):
        await updatable.client.update_adapter(write_adapter(tmp_path / "a", seed=1), 1, "other")


async def test_adapter_of_an_unknown_layer_is_rejected(updatable, tmp_path) -> None:
    adapter = write_adapter(tmp_path / "a", seed=1)
    tensors = load_file(adapter / "adapter_model.safetensors")
    layer = "base_model.model.model.layers.4.self_attn.q_proj.lora_A.weight"
    save_file(tensors | {layer: torch.zeros(8, 192)}, adapter / "adapter_model.safetensors")
    with pytest.raises(InvalidRequest, match=rf"{layer}; only matrices A and B of the linear layers of {MODEL}"):
        await updatable.client.update_adapter(adapter, 1)


async def test_adapter_without_the_name_of_its_model_is_rejected_by_the_client(updatable, tmp_path) -> None:
    adapter = write_adapter(tmp_path / "a", seed=1, base_model_name_or_path=None)
    with pytest.raises(InvalidRequest, match="base_model_name_or_path"):
        await updatable.client.update_adapter(adapter, 1)


async def test_folder_without_an_adapter_is_rejected_by_the_client(updatable, tmp_path) -> None:
    with pytest.raises(InvalidRequest, match="no adapter at"):
        await updatable.client.update_adapter(tmp_path, 1)


async def complete_upload(adapter: Path, version: int = 2) -> list[pb.UpdateAdapterRequest]:
    header = pb.AdapterHeader(policy_version=version, model=MODEL, files=_describe(adapter))
    return [message async for message in _messages(adapter, header)]


def wrong_checksum(messages: list[pb.UpdateAdapterRequest]) -> None:
    messages[0].header.files[1].sha256 = hashlib.sha256(b"").hexdigest()


def truncated(messages: list[pb.UpdateAdapterRequest]) -> None:
    del messages[-1]


def unknown_name(messages: list[pb.UpdateAdapterRequest]) -> None:
    messages[0].header.files[1].name = "../adapter_model.safetensors"


def too_large(messages: list[pb.UpdateAdapterRequest]) -> None:
    messages[0].header.files[1].size_bytes = (4 << 20) + 1


def excess_data(messages: list[pb.UpdateAdapterRequest]) -> None:
    messages.append(messages[-1])


def no_header(messages: list[pb.UpdateAdapterRequest]) -> None:
    del messages[0]


def out_of_order(messages: list[pb.UpdateAdapterRequest]) -> None:
    messages[1:] = messages[:0:-1]


def no_version(messages: list[pb.UpdateAdapterRequest]) -> None:
    messages[0].header.policy_version = 0


@pytest.mark.parametrize(
    ("corrupt", "message"),
    [
        (wrong_checksum, "adapter_model.safetensors: the SHA-256"),
        (truncated, "adapter_model.safetensors: the upload ended after 0 of"),
        (unknown_name, "must have adapter_config.json and adapter_model.safetensors"),
        (too_large, "adapter_model.safetensors has 4194305 bytes; the size must be from 1 to 4194304"),
        (excess_data, "more data than its header announced"),
        (no_header, "first message"),
        (out_of_order, "sent in order"),
        (no_version, "policy_version is 0"),
    ],
)
async def test_corrupt_upload_is_rejected_and_the_current_version_stays(
    updatable, prompt_ids, tmp_path, corrupt, message: str
) -> None:
    await updatable.client.update_adapter(write_adapter(tmp_path / "a", seed=1), 1)
    before = await updatable.sample(prompt_ids)
    messages = await complete_upload(write_adapter(tmp_path / "b", seed=2))
    corrupt(messages)
    with pytest.raises(grpc.aio.AioRpcError, match=message) as rejected:
        await updatable.client.stub.UpdateAdapter(iter(messages))
    assert rejected.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert await versions(updatable) == (1, [0, 1])
    assert (await updatable.sample(prompt_ids)).token_ids == before.token_ids


async def test_upload_of_a_disconnected_client_does_not_block_the_next(updatable, tmp_path) -> None:
    messages = await complete_upload(write_adapter(tmp_path / "a", seed=1), version=1)
    sent = asyncio.Event()

    async def stalled() -> AsyncIterator[pb.UpdateAdapterRequest]:
        for message in messages[:2]:
            yield message
        sent.set()
        await asyncio.Event().wait()

    call = updatable.client.stub.UpdateAdapter(stalled())
    await sent.wait()
    call.cancel()
    assert await updatable.client.update_adapter(write_adapter(tmp_path / "b", seed=2), 1) == 1


@pytest.mark.parametrize("temperature", [0.7, 1.2])
async def test_log_probabilities_match_transformers_and_peft(solve, updatable, tmp_path, temperature: float) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    adapter = write_adapter(tmp_path / "a", seed=1, rank=32, strength=0.02)
    await updatable.client.update_adapter(adapter, 1)
    runs = await asyncio.gather(
        *(
            solve(question, seed=9, temperature=temperature, engine=updatable.engine, max_tokens=256)
            for question in QUESTIONS[:16]
        )
    )
    base = AutoModelForCausalLM.from_pretrained(EMBEDDED_MODEL, dtype=torch.float32)
    unadapted = max(largest_difference(base, run, temperature) for run in runs)
    model = PeftModel.from_pretrained(base, adapter)
    assert max(largest_difference(model, run, temperature) for run in runs) < 1e-3
    assert unadapted > 0.1, "the adapter has no effect, so the comparison proves nothing"


def spoiled(adapter: Path, change: Callable[[torch.Tensor], torch.Tensor], tensor: int = -1) -> Path:
    """Change one tensor of an adapter."""
    tensors = load_file(adapter / ADAPTER_WEIGHTS)
    name = sorted(tensors)[tensor]
    save_file(tensors | {name: change(tensors[name])}, adapter / ADAPTER_WEIGHTS)
    return adapter


def with_first(value: float) -> Callable[[torch.Tensor], torch.Tensor]:
    def change(weights: torch.Tensor) -> torch.Tensor:
        weights.view(-1)[0] = value
        return weights

    return change


NOT_SERVED = {
    "nan": (with_first(math.nan), "has NaN or infinite weights"),
    "infinity": (with_first(math.inf), "has NaN or infinite weights"),
    "negative_infinity_in_bfloat16": (lambda w: with_first(-math.inf)(w.bfloat16()), "has NaN or infinite weights"),
    "infinity_in_float16": (lambda w: (w * 1e38).half(), "has NaN or infinite weights"),
    "nan_in_float64": (lambda w: with_first(math.nan)(w.double()), "has NaN or infinite weights"),
    "overflow": (lambda w: w * 1e38, "log-probabilities that are not finite"),
    "integers": (lambda w: w.int(), "is of type I32; use one of F64, F32, F16, BF16"),
    "eight_bits": (lambda w: w.to(torch.float8_e4m3fn), "is of type F8_E4M3"),
    "other_shape": (lambda w: w[:, :-1].contiguous(), "expected"),
}


@pytest.mark.parametrize("name", NOT_SERVED)
@pytest.mark.parametrize("tensor", [0, -1])
async def test_adapter_without_finite_weights_is_rejected_and_the_earlier_one_stays(
    updatable, prompt_ids, tmp_path, name: str, tensor: int
) -> None:
    change, message = NOT_SERVED[name]
    await updatable.client.update_adapter(write_adapter(tmp_path / "a", seed=1), 1)
    before = await updatable.sample(prompt_ids)
    with pytest.raises(InvalidRequest, match=message):
        await updatable.client.update_adapter(spoiled(write_adapter(tmp_path / "b", seed=2), change, tensor), 2)
    assert await versions(updatable) == (1, [0, 1])
    assert (await updatable.sample(prompt_ids)).token_ids == before.token_ids
    assert await updatable.client.update_adapter(write_adapter(tmp_path / "c", seed=3), 2) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lora_alpha": math.nan}, "lora_alpha = nan"),
        ({"lora_alpha": math.inf}, "lora_alpha = inf"),
        ({"lora_alpha": 1e300}, "lora_alpha = 1e.300"),
        ({"lora_alpha": -16}, "lora_alpha = -16"),
        ({"lora_alpha": True}, "lora_alpha = True"),
        ({"lora_alpha": "16"}, "lora_alpha = '16'"),
        ({"r": True}, "r = True"),
    ],
)
async def test_adapter_without_a_sensible_scale_is_rejected(updatable, tmp_path, options, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        await updatable.client.update_adapter(write_adapter(tmp_path / "a", seed=1, **options), 1, MODEL)


@pytest.mark.parametrize(
    "weights",
    [b"", b"1234567", (1 << 40).to_bytes(8, "little") + b"{}", (50 << 20).to_bytes(8, "little") + b" " * (3 << 20)],
    ids=["empty", "short", "terabyte", "long_header"],
)
async def test_adapter_with_a_malformed_header_is_rejected_unparsed(updatable, tmp_path, weights: bytes) -> None:
    adapter = write_adapter(tmp_path / "a", seed=1)
    (adapter / ADAPTER_WEIGHTS).write_bytes(weights)
    with pytest.raises(InvalidRequest, match=r"the size must be from 1|not a complete safetensors file"):
        await updatable.client.update_adapter(adapter, 1)


async def test_config_that_nests_without_end_is_rejected(updatable, tmp_path) -> None:
    adapter = write_adapter(tmp_path / "a", seed=1)
    (adapter / ADAPTER_CONFIG).write_text("[" * 100_000)
    with pytest.raises(InvalidRequest, match=r"adapter_config.json is not valid JSON"):
        await updatable.client.update_adapter(adapter, 1, MODEL)


def upload_folders() -> set[str]:
    return {path.name for path in Path(tempfile.gettempdir()).glob("deepmath-adapter-*")}


@pytest.fixture
def own_temporary_folder(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


async def slow(messages: list[pb.UpdateAdapterRequest]) -> AsyncIterator[pb.UpdateAdapterRequest]:
    """Send all but the weights, then a byte now and then."""
    *first, last = messages
    for message in first:
        yield message
    for byte in last.chunk.data:
        yield pb.UpdateAdapterRequest(chunk=pb.AdapterChunk(file_index=1, data=bytes([byte])))
        await asyncio.sleep(0.05)


async def test_slow_upload_delays_nobody_ends_at_its_deadline_and_leaves_nothing(
    updatable, own_temporary_folder, tmp_path
) -> None:
    messages = await complete_upload(write_adapter(tmp_path / "a", seed=1), version=9)
    call = updatable.client.stub.UpdateAdapter(slow(messages))
    async with asyncio.timeout(10):
        while not upload_folders():  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    for version in (1, 2):
        await updatable.client.update_adapter(write_adapter(tmp_path / str(version), seed=version), version)
    assert await versions(updatable) == (2, [0, 2])
    with pytest.raises(grpc.aio.AioRpcError, match="did not arrive within 3 s"):
        await call
    assert not upload_folders()


async def test_aborted_upload_leaves_nothing(updatable, own_temporary_folder, tmp_path) -> None:
    messages = await complete_upload(write_adapter(tmp_path / "a", seed=1), version=1)
    call = updatable.client.stub.UpdateAdapter(slow(messages))
    async with asyncio.timeout(10):
        while not upload_folders():  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        call.cancel()
        while upload_folders():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_third_upload_of_a_caller_waits_for_one_of_two(updatable, own_temporary_folder, tmp_path) -> None:
    messages = await complete_upload(write_adapter(tmp_path / "a", seed=1), version=1)
    calls = [updatable.client.stub.UpdateAdapter(slow(messages)) for _ in range(2)]
    async with asyncio.timeout(10):
        while len(upload_folders()) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        with pytest.raises(grpc.aio.AioRpcError, match="2 uploads are in progress, 2 of them from this caller") as full:
            await updatable.client.stub.UpdateAdapter(iter(messages))
        assert full.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        calls[0].cancel()
        assert await updatable.client.update_adapter(write_adapter(tmp_path / "b", seed=2), 1) == 1
    calls[1].cancel()


async def test_two_uploads_at_once_are_served_in_the_order_of_their_versions(updatable, tmp_path) -> None:
    adapters = [write_adapter(tmp_path / str(version), seed=version) for version in (1, 2)]
    results = await asyncio.gather(
        *(updatable.client.update_adapter(adapter, version) for version, adapter in enumerate(adapters, start=1)),
        return_exceptions=True,
    )
    assert results[1] == 2
    assert results[0] == 1 or isinstance(results[0], WrongOrder)
    assert (await versions(updatable))[0] == 2


async def test_full_disk_is_reported(updatable, own_temporary_folder, tmp_path, monkeypatch) -> None:
    folder = own_temporary_folder / "deepmath-adapter-full"
    folder.mkdir()
    (folder / ADAPTER_WEIGHTS).symlink_to("/dev/full")
    monkeypatch.setattr(tempfile, "mkdtemp", lambda **_: str(folder))
    messages = await complete_upload(write_adapter(tmp_path / "a", seed=1), version=1)
    with pytest.raises(grpc.aio.AioRpcError, match=r"cannot store the adapter in .*: No space left on device") as full:
        await updatable.client.stub.UpdateAdapter(iter(messages))
    assert full.value.code() is grpc.StatusCode.UNAVAILABLE
    assert not upload_folders()
