"""Host calls of a snippet: only offered functions, bounded, excluded from its time limits, safe from forged frames."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from support.attacks import CRASHED, EXCEPTION, FORGE, OK, PRELUDE, WALL
from support.executor_process import GRACE_MS, LATE_MS, Executor, Session, running

from deepmath.clients import ExecutorClient
from deepmath.clients.host_functions import HostFunction
from deepmath.executor.v1 import executor_pb2 as pb

NEEDS_MATHS = False
ADD = pb.HostFunction(name="add", parameters=["x", "y"])
END = pb.HostFunction(name="end", parameters=["answer"], ends_snippet=True)
# A call frame sent by the snippet itself.
FORGE_CALL = f"""{FORGE}
def forge_call(function, arguments, number=1, sequence=1, **more):
    forge({{'sequence': sequence, 'call': number, 'function': function, 'arguments': arguments, **more}})
"""
WAIT = "\nwhile True: sleep(1)"


class Caller:
    """A client that offers `add` and `end` and records the calls it receives."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.calls: list[tuple[str, Any]] = []

    async def send(
        self,
        code: str,
        functions: Sequence[pb.HostFunction] = (ADD, END),
        call_ms: int = 0,
        calls: int = 0,
        **limits: int,
    ) -> None:
        self.session.sequence += 1
        host = pb.HostFunctions(functions=functions, call_ms=call_ms, calls=calls)
        snippet = pb.RunSnippet(
            sequence=self.session.sequence,
            code=code,
            limits=pb.Limits(**limits),
            host=host,
            value_format=pb.VALUE_FORMAT_JSON,
        )
        await self.session.stream.write(pb.SessionRequest(run=snippet))

    async def answer(self, call: pb.HostCall, **outcome: Any) -> None:
        result = pb.HostResult(sequence=call.sequence, number=call.number, **outcome)
        await self.session.stream.write(pb.SessionRequest(host_result=result))

    async def next_call(self) -> pb.HostCall:
        return (await self.session.read()).host_call

    async def run(self, code: str, **options: Any) -> pb.SnippetResult:
        await self.send(code, **options)
        while (response := await self.session.read()).WhichOneof("response") == "host_call":
            call = response.host_call
            self.calls.append((call.function, json.loads(call.arguments)))
            arguments = self.calls[-1][1]
            value = arguments["x"] + arguments["y"] if call.function == "add" else None
            await self.answer(call, value=json.dumps(value))
        return response.result


@asynccontextmanager
async def caller_of(executor: Executor, **options: Any) -> AsyncIterator[Caller]:
    async with executor.session(**options) as session:
        yield Caller(session)


@pytest.fixture
async def caller(executor) -> AsyncIterator[Caller]:
    async with caller_of(executor) as caller:
        yield caller


async def test_clients_result_is_the_value_of_the_call(caller):
    result = await caller.run("add(1, y=2) * add(x=3, y=4)")
    assert (result.outcome, result.value, result.usage.host_calls) == (OK, "21", 2)
    assert caller.calls == [("add", {"x": 1, "y": 2}), ("add", {"x": 3, "y": 4})]


async def test_without_an_offer_no_function_is_defined(caller):
    assert (await caller.run("add(1, 2)", functions=())).exception.type == "NameError"
    assert (await caller.run("add(1, 2)")).value == "3"
    assert (await caller.run("add(1, 2)", functions=())).exception.type == "NameError"
    assert len(caller.calls) == 1


async def test_function_kept_from_an_earlier_offer_is_refused(caller):
    await caller.run("kept = add")
    result = await caller.run("kept(1, 2)", functions=[END])
    assert (result.outcome, result.exception.type, caller.calls) == (EXCEPTION, "NameError", [])


async def test_clients_error_is_raised_in_the_snippet_by_its_class_name(caller):
    code = "try:\n    add(1, 2)\nexcept KeyError as error:\n    print(type(error).__name__, error)\nadd(1, 2)"
    await caller.send(code)
    for name in ("KeyError", "LookupFailed"):
        call = await caller.next_call()
        await caller.answer(call, error=pb.HostError(type=name, message="no such thing"))
    result = (await caller.session.read()).result
    assert result.stdout == "KeyError no such thing\n"
    assert (result.outcome, result.exception.type, result.exception.message) == (
        EXCEPTION,
        "LookupFailed",
        "no such thing",
    )
    assert 'File "<snippet 1>", line 5' in result.exception.traceback
    assert "host_functions" not in result.exception.traceback


@pytest.mark.parametrize("name", ["SystemExit", "UnicodeDecodeError", "ExceptionGroup", "é", "a b", "", "x\0y"])
async def test_error_with_any_class_name_can_be_caught_as_exception(caller, name):
    await caller.send("try:\n    add(1, 2)\nexcept Exception as error:\n    print('caught', error)")
    await caller.answer(await caller.next_call(), error=pb.HostError(type=name, message="reason"))
    result = (await caller.session.read()).result
    assert result.outcome == OK
    assert result.stdout.startswith("caught")
    assert "reason" in result.stdout


async def test_clients_time_is_not_charged_to_the_snippet(caller):
    await caller.send("add(1, 2)", wall_ms=GRACE_MS, cpu_ms=GRACE_MS)
    call = await caller.next_call()
    await asyncio.sleep(2 * GRACE_MS / 1e3)
    await caller.answer(call, value="3")
    result = (await caller.session.read()).result
    assert (result.outcome, result.value) == (OK, "3")
    assert result.usage.wall_ms < GRACE_MS
    assert result.usage.host_ms >= 2 * GRACE_MS


async def test_time_before_and_after_a_call_counts_against_one_limit(caller):
    spin = "import random\nclock = random._os.sys.modules['time'].monotonic\n"
    spin += "def spin():\n    end = clock() + 0.6\n    while clock() < end: pass\n"
    result = await caller.run(spin + "spin()\nadd(1, 2)\nspin()", wall_ms=1000)
    assert (result.outcome, result.state_lost, len(caller.calls)) == (WALL, False, 1)
    assert result.usage.wall_ms < 1000 + GRACE_MS


async def test_unanswered_call_is_a_timeout_error_and_its_late_result_is_ignored(caller):
    await caller.send("try:\n    add(1, 2)\nexcept TimeoutError as error:\n    print(error)\nadd(3, 4)", call_ms=300)
    late = await caller.next_call()
    call = await caller.next_call()
    assert (late.number, call.number, call.deadline_ms) == (1, 2, 300)
    await caller.answer(late, value='"late"')
    await caller.answer(call, value="7")
    result = (await caller.session.read()).result
    assert (result.value, result.stdout) == ("7", "add() was not answered within 0.3 s\n")


async def test_result_that_arrives_after_the_snippet_is_ignored(caller):
    await caller.send("try:\n    add(1, 2)\nexcept TimeoutError:\n    pass", call_ms=200)
    call = await caller.next_call()
    assert (await caller.session.read()).result.outcome == OK
    await caller.answer(call, value='"late"')
    assert (await caller.run("add(1, 2)")).value == "3"


async def test_calls_over_the_maximum_are_refused(caller):
    code = "for number in range(4):\n    print(add(number, 0))"
    result = await caller.run(code, calls=3)
    assert (result.stdout, result.exception.type, result.usage.host_calls) == ("0\n1\n2\n", "RuntimeError", 4)
    assert len(caller.calls) == 3


async def test_slot_is_free_during_a_host_call(small_executor):
    async with caller_of(small_executor) as caller:  # one snippet runs at a time
        await caller.send("add(1, 2)")
        call = await caller.next_call()
        assert (await small_executor.execute("1 + 1")).value == "2"
        await caller.answer(call, value="3")
        assert (await caller.session.read()).result.value == "3"


async def test_client_that_disconnects_during_a_call_ends_the_sandbox(small_executor):
    await small_executor.until(lambda load: load.live_sessions == 0)
    async with caller_of(small_executor, session_id="gone") as caller:
        await caller.send("add(1, 2)")
        await caller.next_call()
    await small_executor.until(lambda load: load.live_sessions == load.running_snippets == 0, seconds=2)
    (line,) = await small_executor.audit_of("gone")
    assert line["outcome"] == "UNSPECIFIED"
    assert (await small_executor.execute("1")).value == "1"


async def test_ending_function_is_not_caught_by_except_exception(caller):
    result = await caller.run("try:\n    end(1)\nexcept Exception:\n    print('caught')\nprint('on')")
    assert (result.outcome, result.stdout, caller.calls) == (OK, "", [("end", {"answer": 1})])
    assert not result.HasField("value")


async def test_no_function_is_called_after_the_end(caller):
    code = "try:\n    end(1)\nexcept BaseException:\n    pass\ntry:\n    end(2)\nexcept BaseException:\n    add(1, 2)"
    assert (await caller.run(code)).outcome == OK
    assert caller.calls == [("end", {"answer": 1})]


async def test_end_that_the_client_rejects_does_not_end_the_snippet(caller):
    await caller.send("try:\n    end(1)\nexcept ValueError as error:\n    print(error)\n'on'")
    await caller.answer(await caller.next_call(), error=pb.HostError(type="ValueError", message="not good enough"))
    result = (await caller.session.read()).result
    assert (result.stdout, result.value) == ("not good enough\n", '"on"')


async def test_ending_function_sends_values_without_a_json_form_as_text(caller):
    await caller.run("import sympy\nend(sympy.sqrt(2))")
    assert caller.calls == [("end", {"answer": {"$type": "text", "class": "Pow", "text": "sqrt(2)", "dropped": 0}})]


NOT_ENCODABLE = {
    "object": ("object()", "TypeError", "object has no JSON representation"),
    "text_over_the_limit": ("'x' * 300_000", "ValueError", "limit 262144"),
    "many_parts": ("[0] * 30_000", "ValueError", "more than 20000 parts"),
    "long_integer": ("10 ** 5000", "ValueError", "over 4000 digits"),
    "cycle": ("cycle", "ValueError", "nested deeper"),
    "large_set": ("set(range(3000))", "ValueError", "more than 2000 members"),
}


@pytest.mark.parametrize("name", NOT_ENCODABLE)
async def test_argument_that_cannot_be_encoded_raises_in_the_snippet(caller, name):
    argument, kind, message = NOT_ENCODABLE[name]
    result = await caller.run(f"cycle = []\ncycle.append(cycle)\nadd({argument}, 1)")
    assert (result.outcome, result.exception.type, caller.calls) == (EXCEPTION, kind, []), result
    assert message in result.exception.message


async def test_wrong_arguments_raise_pythons_own_messages(caller):
    assert "takes 2 positional arguments but 3 were given" in (await caller.run("add(1, 2, 3)")).exception.message
    assert "multiple values for argument 'x'" in (await caller.run("add(1, x=2)")).exception.message


# Well-formed frames that are refused with an error and never reach the client.
REFUSED = {
    "function_that_was_not_offered": "forge_call('open', '{}')",
    "function_without_a_name": "forge_call('', '{}')",
    "not_ascii": """forge_call('add', '{"x": "é"}')""",
}
# The arguments are for the client to check.
INVALID_ARGUMENTS = {
    "no_json": "forge_call('add', '{')",
    "no_object": "forge_call('add', '[1]')",
    "two_objects": "forge_call('add', '{}{}')",
    "duplicate_keys": """forge_call('add', '{"x": 1, "x": 2}')""",
    "nan": """forge_call('add', '{"x": NaN}')""",
    "infinity": """forge_call('add', '{"x": -Infinity}')""",
    "number_without_end": """forge_call('add', '{"x": 1e999}')""",
    "integer_without_end": """forge_call('add', '{"x": ' + '9' * 10_000 + '}')""",
    "lone_surrogate": """forge_call('add', '{"x": "\\\\ud800"}')""",
    "deep_lists": "forge_call('add', '[' * 100_000)",
    "deep_objects": """forge_call('add', '{"a":' * 40_000)""",
    "very_many_parts": """forge_call('add', '{"x": [' + '[],' * 80_000 + '0]}')""",
    "very_many_texts": """forge_call('add', '{"x": [' + '"",' * 80_000 + '0]}')""",
    "very_many_keys": """forge_call('add', '{' + ','.join(f'"{n}":0' for n in range(25_000)) + '}')""",
}
READ_REPLY = """
reply = load("deepmath.sandbox.frames").parse(os.read(3, 1 << 16)[4:])
print(*reply, *(text.decode() for text in reply.values()), sep="; ")
"""


@pytest.mark.parametrize("name", REFUSED)
async def test_forged_invalid_call_is_refused(executor, name):
    async with caller_of(executor) as caller:
        result = await caller.run(PRELUDE + FORGE_CALL + REFUSED[name] + READ_REPLY)
        assert (result.outcome, caller.calls) == (OK, []), result
        assert result.stdout.startswith("error; message; ")


@pytest.mark.parametrize("name", INVALID_ARGUMENTS)
async def test_forged_invalid_arguments_are_an_error_from_the_client(small_executor, name):
    called = []

    async def add(arguments: dict[str, Any]) -> int:
        called.append(arguments)
        return 0

    async with ExecutorClient(f"unix:{small_executor.log.parent}/socket") as client, client.session() as session:
        function = HostFunction(add, parameters=("x", "y"))
        code = PRELUDE + FORGE_CALL + INVALID_ARGUMENTS[name] + READ_REPLY
        result = await session.run(code, host_functions={"add": function})
    assert (result.outcome, called) == (OK, []), result
    assert result.stdout.startswith(
        "error; message; ValueError; the arguments of add() cannot be sent out of the sandbox"
    )


MALFORMED = {
    "number_of_the_future": "forge_call('add', '{}', 2)",
    "number_of_the_past": "forge_call('add', '{}', 0)",
    "number_that_is_a_boolean": "forge_call('add', '{}', True)",
    "another_snippet": "forge_call('add', '{}', sequence=2)",
    "no_function": "forge({'sequence': 1, 'call': 1, 'arguments': '{}'})",
    "arguments_of_no_utf8": "forge_call('add', b'\\xff')",
    "no_arguments": "forge({'sequence': 1, 'call': 1, 'function': 'add'})",
    "arguments_over_every_limit": "forge_call('add', 'x' * 600_000)",
    "very_many_keys": "forge_call('add', '{}', **{f'k{n}': '' for n in range(100)})",
    "two_calls_at_once": "forge_call('add', '{}')\nforge_call('add', '{}', 2)",
    "result_while_it_waits": """forge_call('add', '{"x": 1, "y": 2}')
sleep(0.2)
forge({'sequence': 1, 'outcome': 'OK'})""",
}


@pytest.mark.parametrize("name", MALFORMED)
async def test_malformed_or_unexpected_call_frame_is_a_crash_of_the_forger(executor, bystander, name):
    async with caller_of(executor) as caller:
        await caller.send(PRELUDE + FORGE_CALL + MALFORMED[name] + WAIT, wall_ms=LATE_MS)
        response = await caller.session.read()
        if response.WhichOneof("response") == "host_call":  # the first of two is valid
            await asyncio.sleep(1)
            await caller.answer(response.host_call, value="0")
            response = await caller.session.read()
        assert (response.result.outcome, response.result.state_lost) == (CRASHED, True), response
    await bystander.is_unharmed()


async def test_forged_call_of_an_offered_function_is_an_ordinary_call(caller):
    code = PRELUDE + FORGE_CALL + """forge_call('add', '{"x": 1, "y": 2}')""" + READ_REPLY
    assert (await caller.run(code)).stdout == "value; 3\n"


async def test_forged_call_without_an_offer_is_a_crash(caller):
    result = await caller.run(PRELUDE + FORGE_CALL + "forge_call('add', '{}')" + WAIT, functions=(), wall_ms=LATE_MS)
    assert (result.outcome, caller.calls) == (CRASHED, [])


async def test_sandbox_that_computes_during_a_call_is_killed(executor, bystander):
    async with caller_of(executor) as caller:
        await caller.send(PRELUDE + FORGE_CALL + """forge_call('add', '{"x": 1, "y": 2}')\nwhile True: pass""")
        call = await caller.next_call()
        await asyncio.sleep(1.5)
        await caller.answer(call, value="3")
        result = (await caller.session.read()).result
        assert (result.outcome, result.state_lost) == (CRASHED, True)
        assert result.usage.cpu_ms < 1400
    await bystander.is_unharmed()


async def test_endless_calls_stop_at_the_wall_limit(caller):
    code = "while True:\n    try:\n        add(1, 2)\n    except RuntimeError:\n        pass"
    start = time.monotonic()
    result = await caller.run(code, wall_ms=1000, calls=5)
    assert (result.outcome, len(caller.calls)) == (WALL, 5)
    assert time.monotonic() - start < 1 + 2 * GRACE_MS / 1e3 + 2


async def test_result_too_large_for_the_memory_limit_is_out_of_memory_and_keeps_the_variables(caller):
    await caller.run("x = 5")
    code = "fill = []\ntry:\n    while True: fill.append(bytearray(1 << 18))\nexcept MemoryError:\n    pass\nadd(1, 2)"
    await caller.send(code, memory_bytes=64 << 20)
    call = await caller.next_call()
    await caller.answer(call, value=json.dumps("x" * (1 << 19)))
    result = (await caller.session.read()).result
    assert (result.outcome, result.state_lost) == (pb.OUTCOME_OUT_OF_MEMORY, False)
    assert (await caller.run("del fill\nx")).value == "5"


INVALID_OFFERS: dict[str, dict[str, Any]] = {
    "dunder": {"functions": [pb.HostFunction(name="__import__")]},
    "keyword": {"functions": [pb.HostFunction(name="class")]},
    "no_identifier": {"functions": [pb.HostFunction(name="a b")]},
    "no_ascii": {"functions": [pb.HostFunction(name="é")]},
    "long": {"functions": [pb.HostFunction(name="x" * 65)]},
    "empty": {"functions": [pb.HostFunction()]},
    "twice": {"functions": [ADD, ADD]},
    "parameter_twice": {"functions": [pb.HostFunction(name="f", parameters=["a", "a"])]},
    "many_parameters": {"functions": [pb.HostFunction(name="f", parameters=[f"p{n}" for n in range(65)])]},
    "many": {"functions": [pb.HostFunction(name=f"f{n}") for n in range(129)]},
    "negative_deadline": {"call_ms": -1},
    "deadline_over_the_maximum": {"call_ms": 600_001},
    "negative_number": {"calls": -1},
    "number_over_the_maximum": {"calls": 1001},
}


@pytest.mark.parametrize("name", INVALID_OFFERS)
async def test_offer_out_of_bounds_is_rejected(small_executor, name):
    async with caller_of(small_executor) as caller:
        await caller.send("1", **INVALID_OFFERS[name])
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await caller.session.read()
        assert failure.value.code() is grpc.StatusCode.INVALID_ARGUMENT


INVALID_RESULTS = {
    "empty": (pb.HostResult(sequence=1, number=1), grpc.StatusCode.INVALID_ARGUMENT),
    "too_long": (pb.HostResult(sequence=1, number=1, value="1" * ((1 << 20) + 1)), grpc.StatusCode.INVALID_ARGUMENT),
    "of_a_call_to_come": (pb.HostResult(sequence=1, number=2, value="1"), grpc.StatusCode.FAILED_PRECONDITION),
    "of_a_snippet_to_come": (pb.HostResult(sequence=9, number=1, value="1"), grpc.StatusCode.FAILED_PRECONDITION),
}


@pytest.mark.parametrize("name", INVALID_RESULTS)
async def test_invalid_host_result_ends_the_session(small_executor, name):
    answer, status = INVALID_RESULTS[name]
    async with caller_of(small_executor) as caller:
        await caller.send("add(1, 2)")
        await caller.next_call()
        await caller.session.stream.write(pb.SessionRequest(host_result=answer))
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await caller.session.read()
        assert failure.value.code() is status


async def test_result_that_is_not_json_raises_in_the_snippet(caller):
    await caller.send("add(1, 2)")
    await caller.answer(await caller.next_call(), value="{")
    result = (await caller.session.read()).result
    assert (result.outcome, result.exception.type) == (EXCEPTION, "ValueError")


async def test_snippet_sent_during_a_call_is_rejected(small_executor):
    async with caller_of(small_executor) as caller:
        await caller.send("add(1, 2)")
        await caller.next_call()
        await caller.send("1")
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await caller.session.read()
        assert failure.value.code() is grpc.StatusCode.FAILED_PRECONDITION


async def test_host_result_without_a_call_is_rejected(small_executor):
    async with caller_of(small_executor) as caller:
        await caller.session.stream.write(pb.SessionRequest(host_result=pb.HostResult(sequence=1, number=1, value="1")))
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await caller.session.read()
        assert failure.value.code() is grpc.StatusCode.FAILED_PRECONDITION


async def test_drain_lets_a_snippet_with_a_pending_call_finish(tmp_path):
    async with running(tmp_path, "--waiting-sandboxes=1") as executor, caller_of(executor) as caller:
        await caller.send("add(1, 2)")
        call = await caller.next_call()
        executor.process.terminate()
        await asyncio.sleep(0.3)
        await caller.answer(call, value="3")
        assert (await caller.session.read()).result.value == "3"


VALUES = {
    "list": ("[1, 'a', None, True, 0.5]", [1, "a", None, True, 0.5]),
    "tuple": ("(1, 2)", {"$type": "tuple", "items": [1, 2]}),
    "not_finite": ("float('inf')", {"$type": "float", "text": "inf"}),
    "dict_of_numbers": ("{1: 2}", {"$type": "dict", "items": [[1, 2]]}),
    "dict_of_our_key": ("{'$type': 'tuple'}", {"$type": "dict", "items": [["$type", "tuple"]]}),
    "numpy_number": ("__import__('numpy').int64(3)", 3),
    "text_of_an_object": (
        "__import__('fractions').Fraction(1, 3)",
        {"$type": "text", "class": "Fraction", "text": "1/3", "dropped": 0},
    ),
    "surrogate": ("'\\ud800'", "\\ud800"),
}


@pytest.mark.parametrize("name", VALUES)
async def test_value_is_json_on_request(caller, name):
    code, value = VALUES[name]
    assert json.loads((await caller.run(code)).value) == value


@pytest.mark.parametrize("code", ["'x' * 10_000", "'é' * 10_000", "['\\n'] * 5000"])
async def test_too_long_value_is_a_text_within_the_limit(caller, code):
    result = await caller.run(code, output_bytes=1000)
    value = json.loads(result.value)
    assert len(result.value) <= 1000
    assert value["dropped"] > 5000
