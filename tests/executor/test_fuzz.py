"""Property-based tests: for any code and any frames of a sandbox, the service answers within its contract."""

import string
from collections.abc import Awaitable
from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.attacks import PRELUDE

from deepmath.executor.v1 import executor_pb2 as pb
from deepmath.sandbox import frames
from deepmath.sandbox.bounded_text import HeadAndTail
from deepmath.sandbox.supervisor.result_parser import longest_frame, to_result

# Outcomes that a snippet may cause; SANDBOX_FAILED is an infrastructure failure.
EXPECTED = set(pb.Outcome.values()) - {pb.OUTCOME_UNSPECIFIED, pb.OUTCOME_SANDBOX_FAILED}
through_the_service = settings(
    max_examples=200,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
in_process = settings(max_examples=400, deadline=None, derandomize=True, database=None)

SNIPPETS = [
    "import sympy as sp\nx = sp.symbols('x')\nprint(sp.solve(x**2 - 5*x + 6, x))",
    "def fib(n):\n    return n if n < 2 else fib(n - 1) + fib(n - 2)\nprint(fib(15))\nfib(10)",
    "try:\n    1 / 0\nexcept ZeroDivisionError as error:\n    print(repr(error))\nfinally:\n    done = True",
    "from fractions import Fraction\nsum(Fraction(1, n) for n in range(1, 30))",
    "class A:\n    def __repr__(self):\n        return 'a' * 100\n[A() for _ in range(10)]",
    "import numpy as np\nnp.linalg.eigvals(np.arange(9).reshape(3, 3))",
    "while True:\n    pass",
    "print('x' * 10**6)\nraise SystemExit('bye')",
]
TOKENS = [
    *"()[]{}:=,;.@!~+-*/%<>&|^\n\t\\'\"#",
    *("if ", "else ", "for ", "in ", "while ", "def f", "class A", "lambda ", "return ", "yield ", "await ", "async "),
    *(
        "try:",
        "except ",
        "finally:",
        "raise ",
        "with ",
        "import ",
        "from ",
        "not ",
        "and ",
        "or ",
        "is ",
        "del ",
        "del",
    ),
    *(
        "x",
        "f",
        "x.y",
        "x[0]",
        "0",
        "1e999",
        "0x",
        "1_000",
        "10**99",
        "'a'",
        "b'\\xff'",
        "f'{x}'",
        "'''",
        "None",
        "True",
    ),
    *(
        "print(",
        "range(9)",
        "math",
        "os",
        "sympy",
        "__import__",
        "__builtins__",
        "globals()",
        "\n    ",
        "\n  ",
        "...",
        ":=",
    ),
]
any_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=200)
control_characters = st.text(
    st.sampled_from("\x01\x07\x08\t\n\x0b\x0c\r\x1b\x7f\x85\u2028\ufeff" + string.printable), max_size=80
)
token_soup = st.lists(st.sampled_from(TOKENS), max_size=40).map("".join)


@st.composite
def mutants(draw: st.DrawFn) -> str:
    """A real snippet with pieces removed, doubled or replaced."""
    code = draw(st.sampled_from(SNIPPETS))
    for _ in range(draw(st.integers(0, 2))):
        start = draw(st.integers(0, len(code)))
        end = start + draw(st.sampled_from([0, 0, 1, 2, 20]))
        code = code[:start] + draw(st.sampled_from(["", code[start:end], *TOKENS])) + code[end:]
    return code


async def response_or_status(call: Awaitable[Any]) -> Any:
    """Return the response of a call, or the status with which it failed."""
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        return error.code()


CODES = {"texts": any_text, "control_characters": control_characters, "tokens": token_soup, "mutants": mutants()}


@pytest.mark.slow
@pytest.mark.parametrize("name", CODES)
@through_the_service
@given(st.data())
async def test_any_code_ends_in_an_expected_outcome(small_executor, name, data):
    result = await small_executor.execute(data.draw(CODES[name]), wall_ms=500, memory_bytes=128 << 20)
    assert result.outcome in EXPECTED


@through_the_service
@given(code=st.text(st.characters(exclude_categories=["Cs"]), max_size=20), sequence=st.integers(0, 2**64 - 1))
async def test_any_request_gets_a_response_or_a_status_of_the_contract(small_executor, code, sequence):
    async with small_executor.session() as session:
        await session.send(code, sequence)
        answer = await response_or_status(session.read())
    if sequence == 1 and "\0" not in code:
        assert answer.result.outcome in EXPECTED
    else:
        assert answer in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION)


@through_the_service
@given(
    limits=st.fixed_dictionaries(
        {},
        optional={
            field.name: st.integers(-(2**63), 2**63 - 1) | st.integers(0, 2000) for field in pb.Limits.DESCRIPTOR.fields
        },
    )
)
async def test_any_limits_are_enforced_or_rejected(small_executor, limits):
    result = await response_or_status(small_executor.execute("print('x' * 50)\n'y' * 50", **limits))
    if result is grpc.StatusCode.INVALID_ARGUMENT:
        return
    assert result.outcome in EXPECTED
    assert max(len(result.stdout), len(result.value)) <= (limits.get("output_bytes") or 1 << 14)


writes = st.lists(st.tuples(st.sampled_from([1, 2, 3]), st.binary(max_size=60)), max_size=6)


@through_the_service
@given(writes)
async def test_any_bytes_on_any_descriptor_affect_only_the_snippet(small_executor, writes):
    result = await small_executor.execute(f"{PRELUDE}\nfor n, data in {writes}: os.write(n, data)")
    assert result.outcome in EXPECTED
    for descriptor, text in ((1, result.stdout), (2, result.stderr)):
        written = b"".join(data for number, data in writes if number == descriptor)
        expected = written.decode(errors="surrogateescape").encode(errors="backslashreplace").decode()
        assert text == expected or result.outcome == pb.OUTCOME_CRASHED


any_texts = st.text(max_size=20) | st.text(st.characters(categories=["Cs"]), max_size=3)
answers: st.SearchStrategy[dict[str, str | int]] = st.fixed_dictionaries(
    {"sequence": st.just(1), "outcome": st.sampled_from(["OK", "EXCEPTION", "OUT_OF_MEMORY", "INTERRUPTED"])},
    optional={
        "value": any_texts,
        "dropped": st.integers(0, 9),
        "exception": any_texts,
        "message": any_texts,
        "traceback": any_texts,
    },
)


@st.composite
def damaged_frames(draw: st.DrawFn) -> list[bytes]:
    """A frame of the runner with bytes removed, inserted and changed, in pieces."""
    data = frames.encode(draw(answers))
    for _ in range(draw(st.integers(0, 3))):
        start, end = sorted(draw(st.tuples(*[st.integers(0, len(data))] * 2)))
        data = data[:start] + draw(st.binary(max_size=4)) + data[min(end, start + 4) :]
    if draw(st.booleans()):  # corrects the length
        data = max(0, len(data) - 4).to_bytes(4, "big") + data[4:]
    step = draw(st.integers(1, max(1, len(data))))
    return [data[at : at + step] for at in range(0, len(data), step)]


@in_process
@given(damaged_frames(), st.sampled_from([None, pb.OUTCOME_WALL_TIMEOUT, pb.OUTCOME_CPU_TIMEOUT]))
def test_damaged_frame_is_a_result_within_its_limits_or_malformed(pieces, interrupted_by):
    decoder = frames.Decoder()
    try:
        for piece in pieces:
            message = decoder.feed(piece, longest_frame(16))
            if message is not None:
                result = to_result(message, 1, 16, interrupted_by)
                assert result.outcome in EXPECTED
                assert len(result.value.encode()) <= 16
                assert interrupted_by or result.outcome not in (pb.OUTCOME_WALL_TIMEOUT, pb.OUTCOME_CPU_TIMEOUT)
                result.SerializeToString()
    except frames.MalformedFrame:
        pass


@in_process
@given(st.binary(max_size=400), st.integers(0, 64), st.integers(1, 50))
def test_any_output_is_valid_text_within_its_limit_and_counted(data, limit, step):
    kept = HeadAndTail(limit)
    for at in range(0, len(data), step):
        kept.feed(data[at : at + step])
    text, dropped = kept.result()
    whole = data.decode(errors="surrogateescape").encode(errors="backslashreplace")
    assert len(text.encode()) <= limit
    assert len(text.encode()) + dropped == len(whole)
