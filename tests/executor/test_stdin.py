"""Standard input of snippets: the ways of reading it, its end, its size, and what is left of it."""

import grpc
import pytest

from deepmath.executor.v1 import executor_pb2 as pb

NEEDS_MATHS = False
TEXT = "2\nhat Zeilenende\r\nπ"
# Expressions by the value that they have with TEXT as standard input.
READS: dict[str, object] = {
    "int(input()), input(), input()": (2, "hat Zeilenende", "π"),
    "sys.stdin.read()": "2\nhat Zeilenende\nπ",
    "sys.stdin.readline(), sys.stdin.readline(4), sys.__stdin__.readline()": ("2\n", "hat ", "Zeilenende\n"),
    "sys.stdin.readlines()": ["2\n", "hat Zeilenende\n", "π"],
    "[line.strip() for line in sys.stdin]": ["2", "hat Zeilenende", "π"],
    "list(zip(iter(input, 'π'), range(9)))": [("2", 0), ("hat Zeilenende", 1)],
    "list(csv.reader(sys.stdin, delimiter=' '))": [["2"], ["hat", "Zeilenende"], ["π"]],
    "sys.stdin.buffer.read()": TEXT.encode(),
    "sys.stdin.buffer.readline(), sys.stdin.buffer.readlines()[-1]": (b"2\n", "π".encode()),
    "sys.stdin.read(), sys.stdin.read(), sys.stdin.readline(), list(sys.stdin)": ("2\nhat Zeilenende\nπ", "", "", []),
    "sys.stdin.isatty(), sys.stdin.writable(), sys.stdin.name, sys.stdin.encoding": (False, False, "<stdin>", "utf-8"),
}


async def test_every_way_of_reading_sees_the_text(executor):
    async with executor.session() as session:
        for expression, expected in READS.items():
            result = await session.run(f"import csv, sys\n{expression}", stdin=TEXT)
            assert result.value == repr(expected), (expression, result)


async def test_prompt_is_printed_and_the_end_is_an_eof_error(executor):
    result = await executor.execute("print(input('how many? '))\ninput()", stdin="2\n")
    assert (result.outcome, result.stdout) == (pb.OUTCOME_EXCEPTION, "how many? 2\n")
    assert (result.exception.type, result.exception.message) == ("EOFError", "EOF when reading a line")
    assert "The snippet has read all of its standard input." in result.exception.traceback


async def test_later_snippet_does_not_see_the_rest(executor):
    async with executor.session() as session:
        assert (await session.run("import sys\nkept, read = sys.stdin, input\ninput()", stdin="1\n2\n3")).value == "'1'"
        empty = await session.run("input()")
        assert empty.exception.message == "standard input is empty; assign the values in the code"
        assert "read all" not in empty.exception.traceback
        assert (await session.run("input(), read()", stdin="4\n5")).value == "('4', '5')"


async def test_snippet_may_break_its_standard_input(executor):
    breakages = [
        "import sys\nsys.stdin.close()",
        "import sys\nsys.stdin.buffer.detach = None",
        "import sys\nsys.stdin = sys.__stdin__ = None",
        "import io\nio.TextIOWrapper = io.BytesIO = None",
        "import sys\ndel sys.stdin, sys.__stdin__",
    ]
    async with executor.session() as session:
        for code in breakages:
            await session.run(code, stdin="1")
            assert (await session.run("input()", stdin="2")).value == "'2'", code
            assert (await session.run("input()")).exception.type == "EOFError", code


async def test_text_of_the_maximum_size_is_read_and_a_longer_one_rejected(executor):
    maximum = (await executor.stub.GetInfo(pb.GetInfoRequest())).maximum_stdin_bytes
    longest = "\0é" * (maximum // 3) + "x" * (maximum % 3)
    code = f"import sys\nlen(sys.stdin.read().encode())\n#{'x' * (256 * 1024 - 60)}"
    result = await executor.execute(code, stdin=longest, memory_bytes=32 << 20)
    assert result.value == str(maximum), result.outcome
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await executor.execute("1", stdin=longest[1:] + "éé")
    assert failure.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert f"stdin is over {maximum} bytes" in (failure.value.details() or "")


async def test_audit_line_has_the_size_of_the_text_only(executor):
    async with executor.session(session_id="with input") as session:
        await session.run("input()", stdin="hidden é")
    (line,) = await executor.audit_of("with input")
    assert line["stdin_bytes"] == 9
    assert "hidden" not in str(line)
