"""Tokens that show a snippet's result to the model."""

from collections.abc import Sequence
from typing import Any

from deepmath.dialects import OutputPiece
from deepmath_generator.literal_encoding import encode_literally, encode_pieces


def encode_tool_output(tokenizer: Any, pieces: Sequence[OutputPiece]) -> list[int]:
    """Return the token ids of a tool segment. Special tokens are recognised in its control pieces only."""
    ids: list[int] = []
    for piece in pieces:
        ids += (
            encode_pieces(tokenizer, [piece.text])[0] if piece.is_control else encode_literally(tokenizer, piece.text)
        )
    return ids
