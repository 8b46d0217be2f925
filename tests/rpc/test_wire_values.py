"""Values from a sandbox: valid and within the limits, or rejected, in bounded time."""

import json
import time

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepmath.rpc import wire_values

LIMIT = 1 << 16
numbers = st.booleans() | st.integers(-(10**50), 10**50) | st.floats() | st.complex_numbers()
scalars = st.none() | numbers | st.binary(max_size=9)
lists = st.recursive(st.none() | st.floats() | st.text(), st.lists, max_leaves=20)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=9)
members = st.booleans() | st.integers() | texts | st.tuples(st.integers(), texts)
everything = st.recursive(
    scalars | texts | st.sets(members, max_size=4) | st.frozensets(members, max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(texts | st.just("$type") | st.integers(), inner, max_size=3)
    ),
    max_leaves=12,
)


def comparable(value):
    """Return the `repr` of a value, independent of the order of its sets."""
    if isinstance(value, set | frozenset):
        return type(value).__name__, sorted(map(comparable, value), key=repr)
    if isinstance(value, list | tuple):
        return type(value).__name__, [comparable(item) for item in value]
    if isinstance(value, dict):
        return [(comparable(key), comparable(item)) for key, item in value.items()]
    return repr(value)


@given(everything)
def test_value_survives_a_round_trip(value) -> None:
    assert comparable(wire_values.loads(wire_values.dumps(value, LIMIT), LIMIT)) == comparable(value)


@given(st.text(max_size=200) | lists.map(json.dumps))
def test_any_text_is_a_value_or_a_value_error(text) -> None:
    try:
        wire_values.loads(text, LIMIT)
    except ValueError:
        pass


forms = st.sampled_from(["tuple", "set", "frozenset", "dict", "float", "complex", "bytes", "ndarray", "text", "code"])
anything = st.none() | st.integers() | st.text() | st.lists(st.none() | st.lists(st.integers()))


@given(
    st.fixed_dictionaries(
        {"$type": forms | anything},
        optional=dict.fromkeys(["items", "parts", "text", "data", "dtype", "shape", "dropped"], anything),
    )
)
def test_any_typed_object_is_a_value_or_a_value_error(data) -> None:
    try:
        wire_values.loads(json.dumps(data), LIMIT)
    except ValueError:
        pass


@pytest.mark.parametrize("dtype", ["?", "i1", "u2", "<i4", ">i8", "f2", "f4", "f8", "c8", "c16"])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3), (2, 1, 2)])
def test_array_survives_a_round_trip(dtype, shape) -> None:
    array = numpy.ones(shape, dtype)
    back = wire_values.loads(wire_values.dumps(array, LIMIT), LIMIT)
    assert (back.dtype, back.shape) == (array.dtype, array.shape)
    assert (back == array).all()
    assert back.flags.writeable


def test_array_in_another_order_survives_a_round_trip() -> None:
    array = numpy.arange(6).reshape(2, 3).T
    assert (wire_values.loads(wire_values.dumps(array, LIMIT), LIMIT) == array).all()


@pytest.mark.parametrize("dtype", ["O", "U3", "S3", "M8[s]", "V8", "longdouble"])
def test_array_of_other_than_plain_numbers_is_rejected(dtype) -> None:
    with pytest.raises(TypeError, match="ndarray has no JSON representation"):
        wire_values.dumps(numpy.zeros(2, dtype), LIMIT)


HOSTILE_ARRAYS = {
    "objects": {"dtype": "|O", "shape": [1], "data": "AAAAAAAAAAA="},
    "too_few_bytes": {"dtype": "<f8", "shape": [2], "data": "AAAAAAAAAAA="},
    "huge_shape": {"dtype": "<f8", "shape": [1 << 62], "data": ""},
    "negative_shape": {"dtype": "<f8", "shape": [-1], "data": "AAAAAAAAAAA="},
    "boolean_shape": {"dtype": "|i1", "shape": [True], "data": "AA=="},
    "many_dimensions": {"dtype": "|i1", "shape": [1] * 1000, "data": "AA=="},
    "record": {"dtype": "i4,i4", "shape": [1], "data": "AAAAAAAAAAA="},
    "not_base64": {"dtype": "|i1", "shape": [1], "data": "!!"},
}


@pytest.mark.parametrize("name", HOSTILE_ARRAYS)
def test_hostile_array_is_rejected(name) -> None:
    with pytest.raises(ValueError, match="not a valid value of"):
        wire_values.loads(json.dumps({"$type": "ndarray", **HOSTILE_ARRAYS[name]}), LIMIT)


PRIME = (1 << 61) - 1  # integers that differ by a multiple of this have the same hash
HOSTILE = {
    "lists": "[" * 200_000,
    "many_lists": "[" + "[]," * 90_000 + "0]",
    "texts": '"' * 200_000,
    "escapes": '"' + "\\" * 200_000,
    "quotes_in_text": '"' + '\\"' * 100_000 + '"',
    "unterminated_quotes": '"' + '\\"' * 100_000,
    "unterminated_quotes_and_lines": '"' + '\\"\\\n' * 50_000,
    "escapes_between_quotes": '"\\' * 100_000,
    "numbers": "9" * 200_000,
    "fractions": "0." + "9" * 200_000,
    "exponent": "1e" + "9" * 200_000,
    "same_hash": json.dumps({"$type": "set", "items": [PRIME * n for n in range(10_000)]}),
    "same_hash_of_keys": json.dumps({"$type": "dict", "items": [[PRIME * n, 0] for n in range(5000)]}),
    "duplicates": '{"a":1,"a":2}',
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_is_decoded_or_rejected_in_bounded_time(name) -> None:
    start = time.process_time()
    try:
        wire_values.loads(HOSTILE[name], 1 << 20)
    except ValueError:
        assert name not in ("quotes_in_text", "fractions")
    assert time.process_time() - start < 1


class Hostile:
    def __str__(self):
        raise KeyError("no")


def test_text_of_anything_is_within_the_limit() -> None:
    for value in (object(), "x" * LIMIT, {1, (2, "é" * LIMIT)}, 10**4000, [[]] * 30_000):
        text = wire_values.dumps_anything(value, 2000)
        assert len(text) <= 2000
        assert isinstance(wire_values.loads(text, 2000), str)
    with pytest.raises(KeyError):
        wire_values.dumps_anything(Hostile(), 2000)


def test_subclass_of_array_is_rejected() -> None:
    with pytest.raises(TypeError, match="MaskedArray has no JSON representation"):
        wire_values.dumps(numpy.ma.masked_array([1.0, 2.0], [True, False]), LIMIT)


def test_complex_number_out_of_range_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="not a valid value of"):
        wire_values.loads(f'{{"$type":"complex","parts":[{10**400},0]}}', LIMIT)
