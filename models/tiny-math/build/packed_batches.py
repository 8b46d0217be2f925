"""Batches with a budget of tokens, laid out for training on a CPU: examples of similar length share a padded block.

A packed batch is a flat sequence of tokens. Linear layers and norms work on all of it at once; attention works on
its blocks, each of shape (examples, length), and needs no mask but the causal one because padding is on the right.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

import torch
from training_corpus import TrainingExample

PADDING_RATIO = 1.15  # longest to shortest example of a block
PADDING_TOKENS = 4  # by which the longest may exceed that
PADDING_ID = 0


@dataclass(frozen=True)
class PackedBatch:
    """Flat tensors of shape (tokens,) and the blocks that they consist of."""

    ids: torch.Tensor
    positions: torch.Tensor
    """Position of the token in its example."""
    targets: torch.Tensor
    """The token that follows."""
    weights: torch.Tensor
    """Weight of predicting the target; 0 for padding."""
    blocks: tuple[tuple[int, int], ...]
    """(examples, length) of each block."""


def pack(examples: Sequence[TrainingExample], budget: int) -> list[PackedBatch]:
    """Pack examples, ordered by length, into batches of at most `budget` tokens before padding."""
    batches: list[list[TrainingExample]] = [[]]
    tokens = 0
    for example in sorted(examples, key=lambda example: len(example.ids)):
        if batches[-1] and tokens + len(example.ids) > budget:
            batches.append([])
            tokens = 0
        batches[-1].append(example)
        tokens += len(example.ids)
    return [_pack(batch) for batch in batches]


def steps(
    examples: Sequence[TrainingExample], computed_steps: int, total: int, budget: int, seed: int
) -> Iterator[list[TrainingExample]]:
    """Yield the examples of each step: about `budget` tokens, without repetition within an epoch.

    The first `computed_steps` draw only examples that compute. Depends on nothing but the arguments.
    """
    random = Random(f"batches:{seed}")
    computed = _epochs([example for example in examples if example.kind == "computed"], random)
    mixed = _epochs(examples, random)
    for step in range(total):
        yield _take(computed if step < computed_steps else mixed, budget)


def _epochs(examples: Sequence[TrainingExample], random: Random) -> Iterator[TrainingExample]:
    while True:
        yield from random.sample(examples, len(examples))


def _take(stream: Iterator[TrainingExample], budget: int) -> list[TrainingExample]:
    taken, tokens = [], 0
    while tokens < budget:
        example = next(stream)
        taken.append(example)
        tokens += len(example.ids)
    return taken


def _pack(ordered: Sequence[TrainingExample]) -> PackedBatch:
    ids: list[int] = []
    positions: list[int] = []
    targets: list[int] = []
    weights: list[float] = []
    blocks = _blocks(ordered)
    examples = iter(ordered)
    for count, length in blocks:
        for example in itertools.islice(examples, count):
            padding = length - len(example.ids)
            ids += [*example.ids, *[PADDING_ID] * padding]
            positions += range(length)
            targets += [*example.ids[1:], *[PADDING_ID] * (padding + 1)]
            weights += [*example.weights[1:], *[0.0] * (padding + 1)]
    return PackedBatch(
        torch.tensor(ids), torch.tensor(positions), torch.tensor(targets), torch.tensor(weights), tuple(blocks)
    )


def _blocks(ordered: Sequence[TrainingExample]) -> list[tuple[int, int]]:
    blocks: list[list[int]] = []
    for length in (len(example.ids) for example in ordered):
        if not blocks or length > blocks[-1][0] * PADDING_RATIO + PADDING_TOKENS:
            blocks.append([])
        blocks[-1].append(length)
    return [(len(block), block[-1]) for block in blocks]
