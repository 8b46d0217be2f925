"""Checkpoint loading: complete checkpoints only, below the root, and between segments."""

import asyncio

import pytest
from support.adapters import MODEL, write_adapter, write_checkpoint
from support.token_scoring import QUESTIONS, largest_difference

from deepmath.errors import InvalidRequest, WrongOrder
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath.local_stack.stack import EMBEDDED_MODEL


@pytest.fixture
async def restored(request, updatable, checkpoint_root):
    """Restores the model's own weights after the test: the engine is shared."""
    yield
    await updatable.engine.load_checkpoint(1000, write_checkpoint(checkpoint_root / request.node.name, seed=0, noise=0))


async def test_checkpoint_changes_the_policy_of_all_segments(
    updatable, restored, prompt_ids, checkpoint_root, tmp_path
) -> None:
    own = await updatable.sample(prompt_ids, max_tokens=64)
    await updatable.client.update_adapter(write_adapter(tmp_path / "1", seed=1), 1)
    started = asyncio.Event()
    running = asyncio.create_task(updatable.sample(prompt_ids, max_tokens=150, on_tokens=lambda _: started.set()))
    await started.wait()
    assert await updatable.client.load_checkpoint(write_checkpoint(checkpoint_root / "2", seed=2), 2) == 2
    assert running.done()
    assert running.result().policy_version == 1
    changed = await updatable.sample(prompt_ids)
    assert changed.policy_version == 2
    assert changed.token_ids != own.token_ids[:48]
    info = await updatable.client.get_info()
    assert list(info.loaded_policy_versions) == [2]
    back = write_checkpoint(checkpoint_root / "3", seed=0, noise=0)
    for _ in range(2):  # a repeated call succeeds
        assert await updatable.client.load_checkpoint(back, 3) == 3
    again = await updatable.sample(prompt_ids, max_tokens=64)
    assert again.token_ids == own.token_ids
    assert again.logprobs == pytest.approx(own.logprobs, abs=1e-5)


async def test_log_probabilities_match_transformers_with_the_checkpoint(
    solve, updatable, restored, checkpoint_root
) -> None:
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    folder = write_checkpoint(checkpoint_root / "noisy", seed=4, noise=0.02)
    await updatable.client.load_checkpoint(folder, 1)
    runs = await asyncio.gather(
        *(solve(question, seed=9, engine=updatable.engine, max_tokens=256) for question in QUESTIONS[:16])
    )
    model = AutoModelForCausalLM.from_pretrained(EMBEDDED_MODEL, dtype=torch.float32)
    unchanged = max(largest_difference(model, run, 1.0) for run in runs)
    model.load_state_dict(
        load_file(folder / "model.safetensors"), strict=False
    )  # the output layer is tied to the embedding
    assert max(largest_difference(model, run, 1.0) for run in runs) < 1e-3
    assert unchanged > 0.1, "the checkpoint has no effect, so the comparison proves nothing"


async def test_checkpoint_that_does_not_fit_is_rejected_and_not_loaded(
    updatable, prompt_ids, checkpoint_root, tmp_path
) -> None:
    own = await updatable.sample(prompt_ids)
    adapter = write_adapter(checkpoint_root / "adapter", seed=1)
    empty = checkpoint_root / "empty"
    empty.mkdir()
    for folder, message in (
        (adapter, f"lora_A.weight is .*; {MODEL} has no such parameter"),
        (empty, "no .safetensors files"),
        (checkpoint_root / "nowhere", "not a directory below"),
        (tmp_path, "not a directory below"),
        (checkpoint_root / "..", "not a directory below"),
    ):
        with pytest.raises(InvalidRequest, match=message):
            await updatable.client.load_checkpoint(folder, 1)
    assert (await updatable.sample(prompt_ids)) == own


async def test_checkpoint_of_a_version_that_is_not_new_is_rejected(updatable, checkpoint_root, tmp_path) -> None:
    await updatable.client.update_adapter(write_adapter(tmp_path / "5", seed=1), 5)
    with pytest.raises(WrongOrder, match=r"policy_version 4 .* at 5"):
        await updatable.client.load_checkpoint(checkpoint_root, 4)


async def test_checkpoints_are_rejected_without_a_root(generator, checkpoint_root) -> None:
    with pytest.raises(WrongOrder, match="--checkpoint-root DIRECTORY"):
        await generator.load_checkpoint(checkpoint_root, 1)
    assert not (await generator.stub.GetInfo(pb.GetInfoRequest())).takes_checkpoints


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
async def test_checkpoint_without_finite_weights_is_rejected(updatable, prompt_ids, checkpoint_root, value) -> None:
    from safetensors.torch import load_file, save_file

    before = await updatable.sample(prompt_ids)
    folder = write_checkpoint(checkpoint_root / f"with-{value}", seed=2)
    weights = load_file(folder / "model.safetensors")
    weights[max(weights)].view(-1)[-1] = value
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(InvalidRequest, match="has NaN or infinite weights"):
        await updatable.client.load_checkpoint(folder, 2)
    assert (await updatable.sample(prompt_ids)).token_ids == before.token_ids
