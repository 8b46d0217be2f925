"""The forward pass of Qwen3 over a packed batch, in bfloat16 with float32 parameters.

Mathematically it is `Qwen3ForCausalLM.forward`, which tests/models/test_pretraining.py asserts, and several times as
fast on a CPU: there is hardly any padding, projections with the same input are one matrix product, and attention over
short sequences consists of plain batched products. Norms, residuals and the loss stay in float32.
"""

from functools import cache

import torch
from packed_batches import PackedBatch
from torch.nn.functional import cross_entropy, embedding, linear, rms_norm, silu, softmax
from transformers import Qwen3ForCausalLM
from transformers.models.qwen3.modeling_qwen3 import Qwen3DecoderLayer, Qwen3RMSNorm


class PackedForward:
    """A model's forward pass with its matrices cast to `dtype`. Build a new one when the parameters have changed."""

    def __init__(self, model: Qwen3ForCausalLM, dtype: torch.dtype = torch.bfloat16) -> None:
        self._model, self._dtype = model, dtype
        self._head = model.lm_head.weight.to(dtype)
        self._layers = [PackedLayer(layer, dtype) for layer in model.model.layers]

    def losses(self, batch: PackedBatch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return indices of the tokens with a weight, their cross-entropies in nats, and whether greedily right."""
        inner = self._model.model
        angles = batch.positions[:, None].float() * inner.rotary_emb.inv_freq
        rotation = angles.cos()[:, None].to(self._dtype), angles.sin()[:, None].to(self._dtype)
        hidden = embedding(batch.ids, inner.embed_tokens.weight)
        for layer in self._layers:
            hidden = layer(hidden, rotation, batch.blocks)
        weighted = batch.weights.nonzero()[:, 0]
        normed = _norm(hidden.index_select(0, weighted), inner.norm).to(self._dtype)
        logits = linear(normed, self._head).float()
        targets = batch.targets[weighted]
        return weighted, cross_entropy(logits, targets, reduction="none"), logits.argmax(-1) == targets


class PackedLayer:
    """One decoder layer over flat hidden states of shape (tokens, width)."""

    def __init__(self, layer: Qwen3DecoderLayer, dtype: torch.dtype) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        self._layer, self._dtype, self._head_dim = layer, dtype, attention.head_dim
        projections = [each.weight for each in (attention.q_proj, attention.k_proj, attention.v_proj)]
        self._widths = [len(weight) for weight in projections]
        self._queries_keys_values = torch.cat(projections).to(dtype)
        self._attention_output = attention.o_proj.weight.to(dtype)
        self._gate_up = torch.cat((mlp.gate_proj.weight, mlp.up_proj.weight)).to(dtype)
        self._down = mlp.down_proj.weight.to(dtype)

    def __call__(
        self,
        hidden: torch.Tensor,
        rotation: tuple[torch.Tensor, torch.Tensor],
        blocks: tuple[tuple[int, int], ...],
    ) -> torch.Tensor:
        """Return the hidden states after attention and MLP, in float32."""
        normed = _norm(hidden, self._layer.input_layernorm).to(self._dtype)
        hidden = hidden + linear(self._attention(normed, rotation, blocks), self._attention_output)
        normed = _norm(hidden, self._layer.post_attention_layernorm).to(self._dtype)
        gate, up = linear(normed, self._gate_up).chunk(2, -1)
        return hidden + linear(silu(gate) * up, self._down)

    def _attention(
        self,
        normed: torch.Tensor,
        rotation: tuple[torch.Tensor, torch.Tensor],
        blocks: tuple[tuple[int, int], ...],
    ) -> torch.Tensor:
        heads = linear(normed, self._queries_keys_values).unflatten(-1, (-1, self._head_dim))
        queries, keys, values = heads.split([width // self._head_dim for width in self._widths], 1)
        queries = _rotate(_norm(queries.float(), self._layer.self_attn.q_norm).to(self._dtype), *rotation)
        keys = _rotate(_norm(keys.float(), self._layer.self_attn.k_norm).to(self._dtype), *rotation)
        sizes = [examples * length for examples, length in blocks]
        flat = zip(queries.split(sizes), keys.split(sizes), values.split(sizes), strict=True)
        return torch.cat([_block_attention(*qkv, *block) for qkv, block in zip(flat, blocks, strict=True)])


def _block_attention(
    queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, examples: int, length: int
) -> torch.Tensor:
    """Return causal attention of shape (tokens, heads * head size). Queries that share keys are in one product."""
    groups, size = keys.shape[-2:]
    repeats = queries.shape[-2] // groups
    queries, keys, values = (
        heads.view(examples, length, -1, size).transpose(1, 2).reshape(examples * groups, -1, size)
        for heads in (queries, keys, values)
    )
    mask = _causal_mask(length, repeats, queries.dtype)
    scores = torch.baddbmm(mask, queries, keys.transpose(1, 2), alpha=size**-0.5)
    mixed = torch.bmm(softmax(scores, -1), values)
    return mixed.view(examples, groups * repeats, length, size).transpose(1, 2).flatten(2).flatten(0, 1)


@cache
def _causal_mask(length: int, repeats: int, dtype: torch.dtype) -> torch.Tensor:
    return torch.full((length, length), -torch.inf, dtype=dtype).triu(1).repeat(repeats, 1)


def _norm(hidden: torch.Tensor, norm: Qwen3RMSNorm) -> torch.Tensor:
    return rms_norm(hidden, norm.weight.shape, norm.weight, norm.variance_epsilon)


def _rotate(heads: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
    first, second = heads.chunk(2, -1)
    return torch.cat((first * cosine - second * sine, second * cosine + first * sine), -1)
