"""Text of tokens that arrive in pieces: the same as of all at once, and in linear time whatever the tokens are."""

import pytest
from deepmath_generator.token_decoder import TokenDecoder
from deepmath_generator.turn_text import TurnText
from hypothesis import given
from hypothesis import strategies as st
from support.linear_time import assert_linear
from support.played_engine import AnyTokenizer

VALID = st.lists(st.sampled_from(["a", " ", "é", "🙂", "\n", "∑", "\ufffd"]), max_size=20).map("".join)
CUTS = st.lists(st.integers(0, 80), max_size=12)


def divide(content: bytes, cuts: list[int]) -> list[bytes]:
    cuts = sorted(cut for cut in cuts if cut <= len(content))
    return [content[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(content)], strict=True) if start < stop]


@given(VALID, CUTS, st.integers(1, 7))
def test_pieces_make_the_whole_text(text: str, cuts: list[int], size: int) -> None:
    tokenizer = AnyTokenizer()
    tokens = [tokenizer.token(piece) for piece in divide(text.encode(), cuts)]
    decoder, found = TokenDecoder.after(tokenizer, tokenizer.encode("before")), ""
    for start in range(0, len(tokens), size):
        piece, decoder = decoder.decode(tokens[start : start + size])
        found += piece
    assert found + decoder.rest() == text


@given(st.binary(max_size=60), CUTS, st.integers(1, 7))
def test_no_bytes_are_withheld_for_long(content: bytes, cuts: list[int], size: int) -> None:
    tokenizer = AnyTokenizer()
    tokens = [tokenizer.token(piece) for piece in divide(content, cuts)]
    decoder = TokenDecoder.after(tokenizer, [])
    for start in range(0, len(tokens), size):
        _, decoder = decoder.decode(tokens[start : start + size])
        assert len(decoder.pending) <= 3


@pytest.mark.parametrize("unit", ["\ufffd", "a", "é", "🙂", "<|im_end|>"])
def test_time_is_linear_in_hostile_tokens(tokenizer, unit: str) -> None:
    ids = tokenizer.encode(unit, add_special_tokens=False)
    if unit == "\ufffd":
        ids = tokenizer.backend_tokenizer.encode("\ufffd").ids[:1]  # a byte that starts a character

    def read(text: str) -> None:
        decoder = TokenDecoder.after(tokenizer, [])
        for _ in range(len(text) // 250):
            _, decoder = decoder.decode(ids)
        decoder.decode(ids * (len(text) // 5))

    assert_linear(read, "x")


@given(VALID, CUTS, st.lists(st.sampled_from(["a", "\n", "é", "a ", "aa"]), max_size=3))
def test_turn_ends_before_its_first_stop_sequence(text: str, cuts: list[int], stop: list[str]) -> None:
    tokenizer, sent = AnyTokenizer(), ""

    def receive(piece: str) -> None:
        nonlocal sent
        sent += piece

    turn, stopped = TurnText(tokenizer, [], stop, receive), False
    for piece in divide(text.encode(), cuts):
        if stopped := turn.feed([tokenizer.token(piece)]):
            break
    stopped = stopped or turn.end()
    starts = [start for one in stop if (start := text.find(one)) >= 0]
    # Of two that overlap, the one that is complete first may start later.
    assert stopped == bool(starts)
    assert text.startswith(sent)
    assert len(sent) == len(text) if not starts else sent == text[: len(sent)] and len(sent) >= min(starts)
