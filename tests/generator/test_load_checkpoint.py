"""All weights can be read again from a directory: whole, below the root, and between segments."""

import asyncio

import pytest
import torch
from safetensors.torch import load_file
from support.adapters import MODEL, write_adapter, write_checkpoint
from transformers import AutoModelForCausalLM

from deepmath.errors import InvalidRequest, WrongOrder
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath.local_stack.stack import EMBEDDED_MODEL

from .test_trajectory_ids import QUESTIONS, largest_difference


@pytest.fixture
async def restored(request, learner, checkpoint_root):
    """Gives all tests after this one the model's own weights again."""
    yield
    await learner.engine.load_checkpoint(1000, write_checkpoint(checkpoint_root / request.node.name, seed=0, noise=0))


async def test_checkpoint_changes_what_all_segments_are_sampled_from(
    learner, restored, prompt_ids, checkpoint_root, tmp_path
) -> None:
    own = await learner.sample(prompt_ids, max_tokens=64)
    await learner.client.update_adapter(write_adapter(tmp_path / "1", seed=1), 1)
    begun = asyncio.Event()
    in_flight = asyncio.create_task(learner.sample(prompt_ids, max_tokens=150, on_tokens=lambda _: begun.set()))
    await begun.wait()
    assert await learner.client.load_checkpoint(write_checkpoint(checkpoint_root / "2", seed=2), 2) == 2
    assert in_flight.done()
    assert in_flight.result().policy_version == 1
    changed = await learner.sample(prompt_ids)
    assert changed.policy_version == 2
    assert changed.token_ids != own.token_ids[:48]
    info = await learner.client.get_info()
    assert list(info.loaded_policy_versions) == [2]
    back = write_checkpoint(checkpoint_root / "3", seed=0, noise=0)
    for _ in range(2):  # the same again is answered again
        assert await learner.client.load_checkpoint(back, 3) == 3
    again = await learner.sample(prompt_ids, max_tokens=64)
    assert again.token_ids == own.token_ids
    assert again.logprobs == pytest.approx(own.logprobs, abs=1e-5)


async def test_log_probabilities_are_those_of_transformers_with_the_weights_of_the_checkpoint(
    solve, learner, restored, checkpoint_root
) -> None:
    folder = write_checkpoint(checkpoint_root / "noisy", seed=4, noise=0.02)
    await learner.client.load_checkpoint(folder, 1)
    runs = await asyncio.gather(
        *(solve(question, seed=9, engine=learner.engine, max_tokens=256) for question in QUESTIONS[:16])
    )
    model = AutoModelForCausalLM.from_pretrained(EMBEDDED_MODEL, dtype=torch.float32)
    without = max(largest_difference(model, run, 1.0) for run in runs)
    model.load_state_dict(load_file(folder / "model.safetensors"), strict=False)  # the output layer is the embedding
    assert max(largest_difference(model, run, 1.0) for run in runs) < 1e-3
    assert without > 0.1, "the checkpoint changes nothing: the comparison says nothing"


async def test_checkpoint_that_does_not_fit_is_refused_and_nothing_is_loaded(
    learner, prompt_ids, checkpoint_root, tmp_path
) -> None:
    own = await learner.sample(prompt_ids)
    adapter = write_adapter(checkpoint_root / "adapter", seed=1)
    empty = checkpoint_root / "empty"
    empty.mkdir()
    for folder, message in (
        (adapter, f"lora_A.weight is .*; {MODEL} has no such parameter"),
        (empty, "no .safetensors files"),
        (checkpoint_root / "nowhere", "no directory below"),
        (tmp_path, "no directory below"),
        (checkpoint_root / "..", "no directory below"),
    ):
        with pytest.raises(InvalidRequest, match=message):
            await learner.client.load_checkpoint(folder, 1)
    assert (await learner.sample(prompt_ids)) == own


async def test_checkpoint_of_a_version_that_is_not_new_is_refused(learner, checkpoint_root, tmp_path) -> None:
    await learner.client.update_adapter(write_adapter(tmp_path / "5", seed=1), 5)
    with pytest.raises(WrongOrder, match=r"policy_version 4 .* at 5"):
        await learner.client.load_checkpoint(checkpoint_root, 4)


async def test_checkpoints_are_taken_only_where_a_root_was_given(generator, checkpoint_root) -> None:
    with pytest.raises(WrongOrder, match="--checkpoint-root DIRECTORY"):
        await generator.load_checkpoint(checkpoint_root, 1)
    assert not (await generator.stub.GetInfo(pb.GetInfoRequest())).takes_checkpoints
