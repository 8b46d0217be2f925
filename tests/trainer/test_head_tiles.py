"""No step computes the logits of a whole batch, forward or backward."""

import inspect
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

ROWS, TOKENS, VOCABULARY = 4, 400, 6000
LOGITS = ROWS * TOKENS * VOCABULARY


@pytest.fixture
def utils(monkeypatch) -> Any:
    """TRL's module, restored after the test; use_cpu_tiles() changes it."""
    from trl.kernels import chunked_logprob
    from trl.trainer import utils

    monkeypatch.setattr(chunked_logprob, "TOKEN_CHUNK_SIZE", 4096)
    monkeypatch.setattr(utils, "_CHUNKED_LOGPROB_CHUNK_SIZE", 32768)
    monkeypatch.setattr(utils, "_use_triton", lambda _: False)
    return utils


@pytest.fixture
def model(utils) -> Any:
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    shape = Qwen3Config(vocab_size=VOCABULARY, head_dim=8, num_key_value_heads=1, initializer_range=0.3, **sizes)
    model = Qwen3ForCausalLM(shape)
    model.lm_head.requires_grad_(False)  # as with LoRA
    utils.add_fused_lm_head(model, temperature=0.7, outputs=("log_probs", "entropy"))
    return model


def step(model: Any) -> tuple[int, list[Any]]:
    """Return the elements of the largest tensor that a step makes, and its scores and gradients."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    class Largest(TorchDispatchMode):
        elements = 0

        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            made = function(*args, **(kwargs or {}))
            sizes = [
                leaf.untyped_storage().nbytes() // 4 for leaf in tree_leaves(made) if isinstance(leaf, torch.Tensor)
            ]
            self.elements = max([self.elements, *sizes])
            return made

    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, VOCABULARY, (ROWS, TOKENS + 20), generator=generator)
    labels = ids.clone()
    labels[:, :20] = -100
    model.zero_grad()
    with Largest() as largest:
        output = model(input_ids=ids, labels=labels, fused_lm_head=True)
        weights = torch.linspace(-1, 1, output.log_probs.numel()).view_as(output.log_probs)
        (output.log_probs * weights).sum().backward()
    gradients = [weight.grad.clone() for weight in model.parameters() if weight.grad is not None]
    return largest.elements, [output.log_probs.detach(), output.entropy.detach(), *gradients]


def test_small_tiles_hold_a_fraction_of_the_logits_and_change_no_value_and_no_gradient(model) -> None:
    import torch
    from deepmath_trainer.trl_patches import head_tiles

    before, expected = step(model)
    head_tiles.use_cpu_tiles()
    after, found = step(model)
    assert before > LOGITS / 2, "the batch is too small to tell the tiles apart"
    assert after <= head_tiles.TOKENS * head_tiles.VOCABULARY < LOGITS / 8
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def heads() -> dict[str, Any]:
    """Return models whose output layers differ, by a description."""
    import torch
    from transformers import Gemma2Config, Gemma2ForCausalLM, PhiConfig, PhiForCausalLM, Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(0)
    sizes: dict[str, Any] = {"vocab_size": 5000, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
    sizes |= {"num_attention_heads": 2, "initializer_range": 0.3}
    grouped = {"head_dim": 8, "num_key_value_heads": 1}
    return {
        "tied": Qwen3ForCausalLM(Qwen3Config(tie_word_embeddings=True, **sizes, **grouped)),
        "trained": Qwen3ForCausalLM(Qwen3Config(tie_word_embeddings=False, **sizes, **grouped)),
        "with bias": PhiForCausalLM(PhiConfig(**sizes)),
        "with softcap": Gemma2ForCausalLM(Gemma2Config(final_logit_softcapping=2.0, **sizes, **grouped)),
    }


@pytest.mark.parametrize("kind", ["tied", "trained", "with bias", "with softcap"])
def test_scores_and_gradients_of_any_output_layer_are_those_of_all_logits(utils, kind: str) -> None:
    import torch
    from deepmath_trainer.logprob_scoring import score_rows
    from deepmath_trainer.trl_patches.head_tiles import use_cpu_tiles
    from trl import GRPOTrainer

    model, temperature = heads()[kind].eval(), 0.7
    for name, weight in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(weight)
    ids = torch.randint(5, 5000, (4, 20))
    mask = torch.ones_like(ids)
    for row, (front, end) in enumerate([(0, 0), (4, 5), (6, 7), (2, 0)]):
        mask[row, :front], mask[row, 20 - end :] = 0, 0
    scored = 8
    logits = model(input_ids=ids, attention_mask=mask).logits[:, -scored - 1 : -1].float() / temperature
    everything = logits.log_softmax(-1)
    expected = everything.gather(-1, ids[:, -scored:, None])[..., 0], -(everything.exp() * everything).sum(-1)

    utils.add_fused_lm_head(model, temperature=temperature, outputs=("log_probs", "entropy"))
    use_cpu_tiles()
    trainer = SimpleNamespace(accelerator=SimpleNamespace(autocast=nullcontext))
    unprofiled = inspect.unwrap(GRPOTrainer._get_per_token_logps_and_entropies)

    def score(*block: Any, **options: Any) -> Any:
        return unprofiled(trainer, model, *block, compute_entropy=True, **options)

    found = score_rows(score, ids, mask, scored, batch_size=2)
    real, results = mask[:, -scored:].bool(), []
    for logprobs, entropies in (found, expected):
        model.zero_grad()
        (logprobs * torch.linspace(-1, 1, real.numel()).view_as(logprobs) * real).sum().backward()
        gradients = [weight.grad for weight in model.parameters() if weight.grad is not None]
        results.append([logprobs.detach()[real], entropies.detach()[real], *gradients])
    torch.testing.assert_close(*results, rtol=1e-3, atol=1e-4)
