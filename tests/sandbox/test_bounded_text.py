"""Head and tail of a text, independent of the pieces it arrives in."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepmath.sandbox.bounded_text import HeadAndTail, cut


@given(st.lists(st.binary(max_size=60)), st.integers(1, 100))
def test_kept_and_dropped_bytes_add_up_to_the_text(pieces, limit) -> None:
    kept = HeadAndTail(limit)
    for piece in pieces:
        kept.feed(piece)
    text, dropped = kept.result()
    whole = b"".join(pieces).decode(errors="surrogateescape").encode(errors="backslashreplace")
    assert len(text.encode()) + dropped == len(whole)
    assert len(text.encode()) <= limit
    assert dropped > 0 or text.encode() == whole


@given(st.text(max_size=300), st.integers(1, 50))
def test_cut_text_is_a_head_and_a_tail_of_the_whole(text, limit) -> None:
    shown, dropped = cut(text, limit)
    whole = text.encode(errors="backslashreplace")
    kept = shown.encode()
    assert any(whole.startswith(kept[:at]) and whole.endswith(kept[at:]) for at in range(len(kept) + 1))
    assert len(whole) - len(kept) == dropped


@pytest.mark.parametrize("limit", [2, 3, 4, 5])
def test_character_is_never_cut_in_two(limit) -> None:
    shown, _ = cut("€€€€", limit)
    assert set(shown) <= {"€"}


def test_memory_stays_bounded_under_endless_output() -> None:
    kept = HeadAndTail(100)
    for _ in range(10_000):
        kept.feed(b"x" * 1000)
    assert len(kept._head) + len(kept._tail) <= 100 + 1100


@given(
    st.lists(st.sampled_from([b"a", b"\r", b"\n", "€".encode(), b"\xf0\x9d\x9f\x9a"]) | st.binary(max_size=60)),
    st.integers(1, 100),
)
def test_what_is_taken_is_a_prefix_of_the_result_and_grows_to_its_head(pieces, limit) -> None:
    kept = HeadAndTail(limit)
    taken = []
    for piece in pieces:
        kept.feed(piece)
        taken.append(kept.take())
    text, dropped = kept.result()
    prefix = "".join(taken)
    assert not any(one.endswith("\r") and two.startswith("\n") for one, two in pairwise(filter(None, taken)))
    assert text.startswith(prefix)
    assert len(prefix.encode()) <= limit // 2
    if dropped:
        assert len(prefix.encode()) >= limit // 2 - 4  # a character that is cut, or a line end
