"""Protocol attacks: frames forged by a snippet affect only its own result."""

import asyncio

import pytest
from support.attacks import CRASHED, EXCEPTION, FORGE, MEMORY, OK, PRELUDE, WALL

NEEDS_MATHS = False
FORGERIES = {
    "garbage": "os.write(3, b'\\xff' * 64)",
    "header_of_an_endless_frame": "os.write(3, b'\\xff\\xff\\xff\\xff' + b'x' * 1000)",
    "endless_stream": "while True: os.write(3, bytes(1 << 16))",
    "frame_of_text": "send(b'abc')",
    "frame_of_json": 'send(b\'{"sequence": 1, "outcome": "OK"}\')',
    "frame_of_zeros": "send(bytes(1000))",
    "name_longer_than_the_frame": "send(b'\\xffoutcome')",
    "text_longer_than_the_frame": "send(b'\\x08sequence\\0\\0\\0\\xff1')",
    "text_of_four_gigabytes": "send(b'\\x08sequence\\xff\\xff\\xff\\xff1')",
    "name_without_a_length": "send(b'\\x08sequence\\0\\0')",
    "outcome_of_no_utf8": "forge({'sequence': 1, 'outcome': b'\\xff'})",
    "repeated_field": "send(2 * b'\\x08sequence\\0\\0\\0\\x011' + b'\\x07outcome\\0\\0\\0\\x02OK')",
    "frame_and_a_byte": "body = b'\\x08sequence\\0\\0\\0\\x011\\x07outcome\\0\\0\\0\\x02OK'\n"
    "os.write(3, len(body).to_bytes(4, 'big') + body + b'x')",
    "object_without_parts": "forge({})",
    "no_sequence": "forge({'outcome': 'OK'})",
    "no_outcome": "forge({'sequence': 1})",
    "outcome_that_is_not_there": "forge({'sequence': 1, 'outcome': 'SPLENDID'})",
    "outcome_that_is_a_number": "forge({'sequence': 1, 'outcome': 1})",
    "outcome_of_our_fault": "forge({'sequence': 1, 'outcome': 'SANDBOX_FAILED'})",
    "outcome_of_a_timeout": "forge({'sequence': 1, 'outcome': 'WALL_TIMEOUT'})",
    "outcome_of_an_interruption_that_was_none": "forge({'sequence': 1, 'outcome': 'INTERRUPTED'})",
    "very_many_fields": "forge({'sequence': 1, 'outcome': 'OK'} | {str(n): '' for n in range(23)})",
    "very_many_short_fields": "forge({'sequence': 1, 'outcome': 'OK'} | {str(n): '' for n in range(5000)})",
    "sequence_of_another_snippet": "forge({'sequence': 7, 'outcome': 'OK'})",
    "sequence_of_words": "forge({'sequence': 'one', 'outcome': 'OK'})",
    "sequence_with_a_sign": "forge({'sequence': '+1', 'outcome': 'OK'})",
    "sequence_in_other_digits": "forge({'sequence': '\\u0661', 'outcome': 'OK'})",
    "sequence_without_end": "forge({'sequence': '1' + '0' * 10000, 'outcome': 'OK'})",
    "empty_sequence": "forge({'sequence': '', 'outcome': 'OK'})",
    "value_over_every_limit": "forge({'sequence': 1, 'outcome': 'OK', 'value': 'x' * 10**7, 'dropped': 0})",
    "value_of_no_utf8": "forge({'sequence': 1, 'outcome': 'OK', 'value': b'\\xff', 'dropped': 0})",
    "value_of_a_surrogate": "forge({'sequence': 1, 'outcome': 'OK', 'value': b'\\xed\\xa0\\x80', 'dropped': 0})",
    "value_without_a_count": "forge({'sequence': 1, 'outcome': 'OK', 'value': ''})",
    "negative_count": "forge({'sequence': 1, 'outcome': 'OK', 'value': '', 'dropped': -1})",
    "count_over_64_bits": "forge({'sequence': 1, 'outcome': 'OK', 'value': '', 'dropped': 1 << 63})",
    "count_that_is_a_fraction": "forge({'sequence': 1, 'outcome': 'OK', 'value': '', 'dropped': 0.5})",
    "count_that_is_infinite": "forge({'sequence': 1, 'outcome': 'OK', 'value': '', 'dropped': 'Infinity'})",
    "count_that_is_a_boolean": "forge({'sequence': 1, 'outcome': 'OK', 'value': '', 'dropped': True})",
    "exception_without_message": "forge({'sequence': 1, 'outcome': 'EXCEPTION', 'exception': 'E'})",
    "exception_without_traceback": "forge({'sequence': 1, 'outcome': 'EXCEPTION', 'exception': 'E', 'message': ''})",
    "second_ready": "forge({'ready': True})",
    "closed_descriptor": "os.close(3)",
    "all_descriptors_closed": "os.closerange(0, 64)",
    "another_file_in_the_place_of_the_socket": "os.close(3)\nos.open(os.__file__, 0)",
    "half_a_header": "os.write(3, b'\\0\\0')",
    "half_a_frame": "os.write(3, b'\\0\\0\\0\\x40{')",
    "bytes_that_drip": "for _ in range(8):\n    os.write(3, b'\\0')\n    sleep(0.01)",
}
# The snippet then waits, because the runner's own answer would race with the forged one.
WAIT = "\nwhile True: sleep(1)"


@pytest.mark.parametrize("name", FORGERIES)
async def test_malformed_frame_is_a_crash_of_the_forger(executor, bystander, name):
    result = await executor.execute(PRELUDE + FORGE + FORGERIES[name] + WAIT, wall_ms=500)
    assert (result.outcome, result.state_lost) == (CRASHED, True), result
    await bystander.is_unharmed()


# A well-formed frame is accepted, because it affects only the snippet itself.
ACCEPTED = {
    "success": ("{'sequence': 1, 'outcome': 'OK'}", OK),
    "failure": ("{'sequence': 1, 'outcome': 'EXCEPTION'}", EXCEPTION),
    "no_memory": ("{'sequence': 1, 'outcome': 'OUT_OF_MEMORY'}", MEMORY),
    "measurements": ("{'sequence': 1, 'outcome': 'OK', 'cpu_ms': 0, 'state_lost': True, 'stdout': 'x'}", OK),
}


@pytest.mark.parametrize("name", ACCEPTED)
async def test_forged_result_does_not_change_output_and_usage(executor, bystander, name):
    answer, outcome = ACCEPTED[name]
    spin = "clock = sys.modules['time'].process_time\nend = clock() + 0.02\nwhile clock() < end: pass\nprint('mine')\n"
    result = await executor.execute(PRELUDE + FORGE + spin + f"forge({answer})" + WAIT)
    assert (result.outcome, result.state_lost, result.stdout) == (outcome, False, "mine\n"), result
    assert result.usage.cpu_ms >= 20
    await bystander.is_unharmed()


async def test_forged_value_is_truncated_to_the_limit(executor):
    code = "forge({'sequence': 1, 'outcome': 'OK', 'value': 'x' * 3000, 'dropped': 5})"
    result = await executor.execute(PRELUDE + FORGE + code + WAIT, output_bytes=1000)
    assert (len(result.value), result.dropped_bytes.value) == (1000, 2005)


async def test_forged_exception_is_truncated_to_the_limit(executor):
    texts = "'exception': 'T' * 500, 'message': 'm' * 3000, 'traceback': 't' * 10**4"
    code = f"forge({{'sequence': 1, 'outcome': 'EXCEPTION', {texts}}})"
    exception = (await executor.execute(PRELUDE + FORGE + code + WAIT, output_bytes=2000)).exception
    assert (len(exception.type), len(exception.message)) == (256, 2000)
    assert len(exception.traceback) <= 16 << 10


async def test_snippet_that_computes_after_a_forged_result_is_killed(executor, bystander):
    async with executor.session() as session:
        spin = "forge({'sequence': 1, 'outcome': 'OK'})\nwhile True: pass"
        assert (await session.run(PRELUDE + FORGE + spin)).outcome == OK
        await asyncio.sleep(1)  # idle sandboxes are checked twice a second
        dead = await session.run("'alive'", wall_ms=3000)
        assert (dead.outcome, dead.state_lost) == (CRASHED, True)
        assert (await session.run("1")).value == "1"
    await bystander.is_unharmed()


async def test_snippet_that_starts_a_frame_after_its_result_is_killed(executor):
    async with executor.session() as session:
        code = "forge({'sequence': 1, 'outcome': 'OK'})\nsleep(0.2)\nos.write(3, b'\\0')\nsleep(60)"
        assert (await session.run(PRELUDE + FORGE + code)).outcome == OK
        await asyncio.sleep(0.6)
        dead = await session.run("'alive'", wall_ms=3000)
        assert (dead.outcome, dead.state_lost) == (CRASHED, True)


async def test_snippet_that_sends_a_result_in_advance_is_killed(executor):
    async with executor.session() as session:
        code = "forge({'sequence': 1, 'outcome': 'OK'})\nsleep(0.2)\nforge({'sequence': 2, 'outcome': 'OK'})\nsleep(60)"
        assert (await session.run(PRELUDE + FORGE + code)).outcome == OK
        await asyncio.sleep(0.6)
        assert (await session.run("'mine'", wall_ms=3000)).outcome == CRASHED


async def test_output_written_after_a_forged_result_is_not_the_next_snippets(executor):
    async with executor.session() as session:
        code = "forge({'sequence': 1, 'outcome': 'OK'})\nsleep(0.2)\nos.write(1, b'late')\nsleep(60)"
        assert (await session.run(PRELUDE + FORGE + code)).outcome == OK
        await asyncio.sleep(0.6)
        assert (await session.run("'mine'", wall_ms=300)).stdout == ""


async def test_snippet_that_replaces_the_runner_serves_only_its_own_session(executor, bystander):
    impostor = """
forge({"sequence": 1, "outcome": "OK"})
while True:
    request = load("deepmath.sandbox.frames").parse(os.read(3, int.from_bytes(os.read(3, 4), "big")))
    forge({"sequence": request["sequence"], "outcome": "OK", "value": "'fake'", "dropped": 0})
"""
    async with executor.session() as session:
        await session.run(PRELUDE + FORGE + impostor)
        assert (await session.run("'real'")).value == "'fake'"
    await bystander.is_unharmed()
    assert (await executor.execute("'real'")).value == "'real'"


async def test_snippet_that_reads_the_runners_requests_is_interrupted(executor):
    async with executor.session() as session:
        assert (await session.run(PRELUDE + "os.read(3, 10)", wall_ms=200)).outcome == WALL
        assert (await session.run("1 + 1")).value == "2"
