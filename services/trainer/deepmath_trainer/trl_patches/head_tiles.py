"""Tiles of the output layer on a CPU.

TRL never computes the logits of a whole batch (`trl/kernels/chunked_logprob.py`): it folds them tile by tile into
log-probabilities and entropies, and computes each tile again in the backward pass. Its tiles of 4096 x 32768 suit a
GPU. On a CPU they take several gigabytes, and it scores the prompts and the padding too.
"""

from trl.kernels import chunked_logprob
from trl.trainer import utils

TOKENS, VOCABULARY = 512, 2048
"""A tile in float32 takes 4 MiB and stays in the cache: faster than the default by a factor of 2 to 5."""


def use_cpu_tiles() -> None:
    """Make TRL's fused output layer use small tiles and score the labelled positions only, in this whole process.

    `ChunkedLogProbFunction` reads the tokens of a tile from `TOKEN_CHUNK_SIZE`; `add_fused_lm_head` passes the
    vocabulary of a tile, and selects the labelled positions if `_use_triton` returns true. Values and gradients do not
    depend on either. No upstream issue is known.
    """
    chunked_logprob.TOKEN_CHUNK_SIZE, utils._CHUNKED_LOGPROB_CHUNK_SIZE = TOKENS, VOCABULARY
    utils._use_triton = lambda _: True
