"""`deepmath exec`."""

import asyncio
import json
import sys
from pathlib import Path

import pytest

from deepmath.cli.commands.exec import _show
from deepmath.executor.v1 import executor_pb2 as pb

FIELDS = {
    *("outcome", "stdout", "stderr", "value", "exception", "state_lost", "queue_ms", "wall_ms", "cpu_ms"),
    *("peak_memory_bytes", "dropped_bytes", "rich_outputs", "dropped_rich_outputs"),
}


async def test_cells_share_one_session(deepmath, executor_address) -> None:
    source = "x = 20\n# %%\nx + 1\n# %% a title\nprint(x + 2)\n"
    ended = await deepmath("exec", "-", "--executor", executor_address, stdin=source)
    assert (ended.status, ended.out) == (0, "21\n22\n")


async def test_json_is_one_object_per_cell_with_the_contracts_fields(deepmath, executor_address) -> None:
    source = "print(1)\n# %%\n1/0\n# %%\n7"
    ended = await deepmath("exec", "-", "--json", "--executor", executor_address, stdin=source)
    cells = [json.loads(line) for line in ended.out.splitlines()]
    assert [cell["outcome"] for cell in cells] == ["OK", "EXCEPTION", "OK"]
    assert all(cell.keys() == FIELDS for cell in cells)
    assert cells[1]["exception"] == {"type": "ZeroDivisionError", "message": "division by zero"}
    assert (cells[0]["stdout"], cells[2]["value"]) == ("1\n", "7")
    assert ended.status == 1


async def test_embedded_executor_is_started_and_stopped(deepmath, tmp_path) -> None:
    file = tmp_path / "cells.py"
    file.write_text("from sympy import *\nx = symbols('x')\nsolve(x**2 - 5*x + 6)")
    ended = await deepmath("exec", str(file))
    assert (ended.status, ended.out) == (0, "[2, 3]\n")


async def test_figures_are_written_to_a_folder(deepmath, tmp_path) -> None:
    folder, file = tmp_path / "plots" / "new", tmp_path / "cells.py"
    file.write_text("import matplotlib.pyplot as plt\nfor _ in range(2): plt.figure()\n# %%\nplt.plot([1])\nplt.show()")
    ended = await deepmath("exec", str(file), "--figures", str(folder), "--json")
    assert ended.status == 0, ended
    written = [output["file"] for line in ended.out.splitlines() for output in json.loads(line)["rich_outputs"]]
    assert written == [str(folder / f"figure-{number}.png") for number in (1, 2, 3)]
    assert all((folder / name).read_bytes().startswith(b"\x89PNG") for name in written)
    ended = await deepmath("exec", str(file), "--figures", str(file))
    assert ended.status == 2
    assert f"--figures: cannot create the folder {file}" in ended.err


def test_figures_are_announced_where_they_are_not_written(capsys) -> None:
    result = pb.SnippetResult(outcome=pb.OUTCOME_OK, rich_outputs=[pb.RichOutput()], dropped_rich_outputs=2)
    _show(result, [])
    assert capsys.readouterr().err == "[3 figures not shown: --figures FOLDER writes them to files]\n"
    _show(result, [Path("figure-1.png")])
    assert capsys.readouterr().err == "[figure-1.png]\n[2 figures not shown: over the executor's limits]\n"


async def test_allowed_module_is_an_option_of_the_embedded_executor(deepmath) -> None:
    ended = await deepmath("exec", "-", "--allow-module", "platform", "--allow-module", "os", stdin="import os\nos.sep")
    assert (ended.status, ended.out) == (0, "'/'\n")
    ended = await deepmath("exec", "-", "--allow-module", "os", "--executor", "localhost:1", stdin="1")
    assert ended.status == 2
    assert "--allow-module is an option of the executor" in ended.err


async def test_wall_clock_limit_of_a_cell_is_enforced(deepmath, executor_address) -> None:
    ended = await deepmath(
        *("exec", "-", "--json", "--wall-seconds", "0.3", "--executor", executor_address), stdin="while True: pass"
    )
    assert json.loads(ended.out)["outcome"] == "WALL_TIMEOUT"


async def test_every_cell_reads_the_standard_input_that_is_given(deepmath, executor_address, tmp_path) -> None:
    cells, text = tmp_path / "cells.py", tmp_path / "input.txt"
    cells.write_text("print(int(input()) + 1)\n# %%\nimport sys\nsys.stdin.read()")
    text.write_text("41\né")
    ended = await deepmath("exec", str(cells), "--stdin", str(text), "--executor", executor_address)
    assert (ended.status, ended.out) == (0, "42\n'41\\né'\n")
    ended = await deepmath("exec", str(cells), "--stdin", "-", "--executor", executor_address, stdin="1\n")
    assert (ended.status, ended.out) == (0, "2\n'1\\n'\n")
    ended = await deepmath("exec", "-", "--stdin", "-", stdin="1")
    assert ended.status == 2
    assert "cannot both be read from the standard input" in ended.err


async def test_output_of_a_cell_is_printed_while_it_runs(executor_address) -> None:
    """The cell has no end, so the command is killed."""
    program = "from deepmath.cli.main import main; main()"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program, "exec", "-", "--executor", executor_address),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin
    assert process.stdout
    try:
        process.stdin.write(b"print('a')\n# %%\nprint('b')\nwhile True: pass")
        process.stdin.close()
        assert [await process.stdout.readline() for _ in range(2)] == [b"a\n", b"b\n"]
    finally:
        process.kill()
        await process.communicate()


async def test_missing_file_has_exit_status_2(deepmath) -> None:
    ended = await deepmath("exec", "no-such-file.py")
    assert ended.status == 2
    assert "no-such-file.py" in ended.err


@pytest.mark.slow
async def test_unreachable_executor_has_exit_status_1(deepmath) -> None:
    ended = await deepmath("exec", "-", "--executor", "127.0.0.1:1", stdin="1")
    assert ended.status == 1
    assert "127.0.0.1:1" in ended.err
