"""Frames and results from a sandbox are hostile input: parsed, or rejected with MalformedFrame."""

import contextlib
import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepmath.executor.v1 import executor_pb2 as pb
from deepmath.sandbox.bounded_text import cut
from deepmath.sandbox.frames import MOST_FIELDS, Decoder, MalformedFrame, encode, parse
from deepmath.sandbox.supervisor.result_parser import longest_frame, to_result

LIMIT = 1 << 20
any_field = st.binary(max_size=20)
near_results = st.fixed_dictionaries(
    {"sequence": st.just(b"1") | any_field, "outcome": st.sampled_from([b"OK", b"EXCEPTION"]) | any_field},
    optional={
        "value": st.binary(max_size=200),
        "dropped": st.integers(0, 1 << 63).map(lambda number: str(number).encode()) | any_field,
        "exception": any_field,
        "message": st.binary(max_size=200),
        "traceback": any_field,
    },
)
names = st.text("abcdefghijklmnopqrstuvwxyz", max_size=20)
texts = st.text(st.characters()) | st.integers(0, 2**64)  # lone surrogates too


@given(st.dictionaries(names, texts, max_size=MOST_FIELDS), st.integers(1, 7))
def test_message_is_decoded_from_any_pieces(message, step) -> None:
    data, decoder = encode(message), Decoder()
    messages = [decoder.feed(data[at : at + step], LIMIT) for at in range(0, len(data), step)]
    assert messages[-1] == {name: str(text).encode(errors="backslashreplace") for name, text in message.items()}
    assert not any(messages[:-1])


@given(st.lists(st.binary(max_size=40)))
def test_any_bytes_are_a_message_or_malformed(pieces) -> None:
    decoder = Decoder()
    try:
        for piece in pieces:
            message = decoder.feed(piece, LIMIT)
            assert message is None or isinstance(message, dict)
    except MalformedFrame:
        pass


@given(st.binary(max_size=60))
def test_any_body_is_its_fields_or_malformed(body) -> None:
    try:
        message = parse(body)
    except MalformedFrame:
        return
    assert sum(5 + len(text) for text in message.values()) <= len(body)
    assert len(message) <= MOST_FIELDS


@given(near_results)
def test_any_message_is_a_result_within_its_limits_or_malformed(message) -> None:
    try:
        result = to_result(message, 1, 64)
    except MalformedFrame:
        return
    assert result.outcome in (pb.OUTCOME_OK, pb.OUTCOME_EXCEPTION)
    assert max(len(result.value.encode()), len(result.exception.message.encode())) <= 64


def test_frame_over_the_limit_is_rejected_by_its_header() -> None:
    with pytest.raises(MalformedFrame):
        Decoder().feed(b"\0\0\4\1", 1024)


@pytest.mark.parametrize("text", ["\0", "\\\ud800", "é", "😀"])
def test_longest_frame_fits_texts_at_their_limit(text) -> None:
    limit = 100_000
    whole, _ = cut(text * limit, limit)
    description: dict[str, str | int] = {"exception": "E" * 256, "message": whole, "traceback": cut(whole, 16 << 10)[0]}
    value: dict[str, str | int] = {"value": whole, "dropped": 2**62}
    for parts in (description, value):
        frame = encode({"sequence": 2**64 - 1, "outcome": "OUT_OF_MEMORY", **parts})
        assert len(frame) <= longest_frame(limit)
        assert Decoder().feed(frame, len(frame)) is not None


@pytest.mark.parametrize(
    "unit",
    [b"\0" * 5, b"\xff", b"\x01a\0\0\0\0", b'{"a":', b"[", b"\\u0001", b"\xed\xa0\x80"],
    ids=["empty_fields", "ff", "repeated", "json", "brackets", "escapes", "surrogates"],
)
@pytest.mark.parametrize("as_value", [False, True], ids=["body", "value"])
def test_time_for_a_hostile_frame_grows_no_faster_than_its_length(unit, as_value) -> None:
    def seconds(size: int) -> float:
        body = unit * (size // len(unit))
        prefix = b"\x05value" + len(body).to_bytes(4, "big") if as_value else b""
        frame = (len(prefix) + len(body)).to_bytes(4, "big") + prefix + body
        best = math.inf
        for _ in range(5):
            start = time.perf_counter()
            with contextlib.suppress(MalformedFrame):
                message = Decoder().feed(frame, len(frame))
                assert message is not None
                to_result({"sequence": b"1", "outcome": b"OK", "dropped": b"0", **message}, 1, size)
            best = min(best, time.perf_counter() - start)
        return best

    assert seconds(1 << 19) < 16 * seconds(1 << 17) + 0.002
