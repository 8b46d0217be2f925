"""Scores of several completions of one prompt, which the model reads once.

The prompt's keys and values are computed with their gradient and then extended by each completion, as in generation.
TRL reads the prompt with every completion; no upstream issue is known.
"""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import DynamicCache

from deepmath_trainer.padded_rows import IGNORED


def can_share_prompts(trainer: Any) -> bool:
    """Return whether keys and values can be extended in the training of `trainer`, with the same result.

    Checkpointed layers drop them, with dropout all completions would have the same, and the layers have to attend to
    all tokens before a token, as `config.layer_types` tells.
    """
    model = trainer.accelerator.unwrap_model(trainer.model)
    config = model.config.get_text_config()
    dropout = [module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)]
    has_dropout = any((*dropout, getattr(config, "attention_dropout", 0)))
    full_attention = set(getattr(config, "layer_types", None) or ()) == {"full_attention"}
    return full_attention and not has_dropout and not trainer.args.gradient_checkpointing


def score_completions(
    model: Any, prompt: torch.Tensor, completions: Sequence[torch.Tensor]
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return log-probabilities and entropies of each of `completions`, in its shape.

    It relies on the options of TRL's fused output layer, `trl.trainer.utils.add_fused_lm_head`, and on models
    extending the keys and values that they are passed with `use_cache=False`.

    Args:
        model: As TRL calls it.
        prompt: (tokens,), without padding.
        completions: Each (rows, tokens), padded at the end with `IGNORED`; rows of similar length together.
    """
    prefix, last = prompt[:-1], prompt[-1:]  # the last token of the prompt is read with each completion: it predicts
    read = DynamicCache()
    if len(prefix):
        _score(model, prefix[None], torch.full_like(prefix[None], IGNORED), read)
    scores = []
    for labels in completions:
        rows, before = len(labels), labels[:, :-1]
        past = DynamicCache()
        for index, layer in enumerate(read.layers):
            past.update(layer.keys.expand(rows, -1, -1, -1), layer.values.expand(rows, -1, -1, -1), index)
        ids = torch.cat([last.expand(rows, 1), before.clamp(min=0)], dim=1)
        mask = torch.cat([prompt.new_ones(rows, len(prompt)), (before != IGNORED).long()], dim=1)
        output = _score(model, ids, labels, past, attention_mask=mask)
        scores.append((output.log_probs, output.entropy))
    return scores


def _score(model: Any, ids: torch.Tensor, labels: torch.Tensor, past: DynamicCache, **options: Any) -> Any:
    return model(input_ids=ids, shift_labels=labels, past_key_values=past, fused_lm_head=True, **options)
