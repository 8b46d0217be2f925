"""Frames and results from a sandbox are hostile input: parsed, or rejected with MalformedFrame."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepmath.executor.v1 import executor_pb2 as pb
from deepmath.sandbox.frames import Decoder, MalformedFrame, encode
from deepmath.sandbox.supervisor.result_parser import longest_frame, to_result

LIMIT = 1 << 20
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
near_results = st.fixed_dictionaries(
    {"sequence": st.just(1) | json_values, "outcome": st.sampled_from(["OK", "EXCEPTION"]) | json_values},
    optional={
        "value": st.text(st.characters()) | json_values,
        "dropped": st.integers() | json_values,
        "exception": json_values
        | st.fixed_dictionaries({"type": st.text(), "message": st.text(st.characters()), "traceback": json_values}),
    },
)


parts = st.text() | st.booleans() | st.integers(-(2**63), 2**64)


@given(st.dictionaries(st.text(), parts, max_size=6), st.integers(1, 7))
def test_message_is_decoded_from_any_pieces(message, step) -> None:
    data, decoder = encode(message), Decoder()
    messages = [decoder.feed(data[at : at + step], LIMIT) for at in range(0, len(data), step)]
    assert messages[-1] == message
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


@given(near_results)
def test_any_message_is_a_result_within_its_limits_or_malformed(message) -> None:
    try:
        result = to_result(json.loads(json.dumps(message)), 1, 64)
    except MalformedFrame:
        return
    assert result.outcome in (pb.OUTCOME_OK, pb.OUTCOME_EXCEPTION)
    assert max(len(result.value.encode()), len(result.exception.message.encode())) <= 64


def test_frame_over_the_limit_is_rejected_by_its_header() -> None:
    with pytest.raises(MalformedFrame):
        Decoder().feed(b"\0\0\4\1", 1024)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32"])
@pytest.mark.parametrize(
    "parts", ["[]," * 1000, '"",' * 1000, '"\u2200",' + "[]," * 1000], ids=["lists", "texts", "both"]
)
def test_frame_of_many_parts_is_malformed_in_every_encoding(parts, encoding) -> None:
    body = f'{{"sequence": 1, "outcome": "OK", "junk": [{parts}0]}}'.encode(encoding)
    with pytest.raises(MalformedFrame):
        Decoder().feed(len(body).to_bytes(4, "big") + body, LIMIT)


@pytest.mark.parametrize("text", ["\0", "\ud800", "é", "😀"])
def test_longest_frame_fits_texts_at_their_limit(text) -> None:
    whole = text * (10_000 // len(text.encode(errors="backslashreplace")))
    exception = {"type": "E", "message": whole, "traceback": whole}
    frame = encode({"sequence": 2**64 - 1, "outcome": "EXCEPTION", "exception": exception, "value": whole})
    assert len(frame) <= longest_frame(10_000)
    assert Decoder().feed(frame, len(frame)) is not None
