"""The text that each token of a segment adds."""

from collections.abc import Iterable, Sequence
from typing import Any

from deepmath.generator.v1 import generator_pb2 as pb
from deepmath_generator.token_decoder import TokenDecoder


def add_token_texts(tokenizer: Any, prompt_ids: Sequence[int], segments: Iterable[pb.Segment]) -> None:
    """Set `token_texts` of the model's segments after a prompt. Takes time linear in their number of tokens."""
    decoder = TokenDecoder.after(tokenizer, prompt_ids)
    last: pb.Segment | None = None
    for segment in segments:
        if segment.source == pb.Segment.SOURCE_MODEL:
            for token in segment.token_ids:
                text, decoder = decoder.decode([token])
                segment.token_texts.append(text)
            last = segment
        elif not decoder.pending:
            decoder = TokenDecoder.after(tokenizer, segment.token_ids)
    if last is not None and (rest := decoder.rest()):
        last.token_texts[-1] += rest
