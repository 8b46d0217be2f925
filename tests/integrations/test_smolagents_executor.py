"""smolagents' agents on our executor: what they can rely on, and what they are told where something goes wrong."""

import gc
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy
import psutil
import pytest
from smolagents import CodeAgent, FinalAnswerTool, Tool, tool
from smolagents.local_python_executor import ExecutionTimeoutError, InterpreterError
from support.executor_process import running

from deepmath.errors import InvalidRequest, Unavailable
from deepmath.integrations.smolagents import DeepMathExecutor

from .scripted import TOOLS, Scripted, add, agent_of, steps

ROOT = Path(__file__).resolve().parents[2]
FINAL = {"final_answer": FinalAnswerTool()}


def test_example_of_the_readme_runs():
    section = (ROOT / "README.md").read_text().partition("## smolagents")[2]
    example = re.search(r"```python\n(.*?)```", section, re.DOTALL)[1]
    assert len([line for line in example.splitlines() if line.strip()]) <= 6
    names = {"model": Scripted(["final_answer(sum(n * n for n in range(1, 41)))"]), "multiply": add}
    exec(example, names)
    assert names["answer"] == 22140


def test_example_script_runs():
    command = [sys.executable, "examples/code_agent_in_the_sandbox.py"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "final answer:" in ended.stdout


def test_embedded_executor_ends_with_its_block_and_leaves_nothing():
    with DeepMathExecutor() as executor:
        assert executor("1 + 1").output == 2
        socket = Path(executor.address.removeprefix("unix:"))
        assert socket.exists()
    assert not socket.parent.exists()


def test_embedded_executor_ends_with_the_program():
    code = (
        "from deepmath.integrations.smolagents import DeepMathExecutor\n"
        "e = DeepMathExecutor()\nprint(e('1 + 1').output, e.address)"
    )
    out = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    assert out[0] == "2"
    assert not Path(out[1].removeprefix("unix:")).parent.exists()


def test_agent_cleans_its_executor_up(new_executor):
    executor = new_executor()
    with agent_of(executor, ["final_answer(1)"]) as agent:
        assert agent.run("Go.") == 1
    with pytest.raises(InterpreterError, match="this executor is closed: make another"):
        executor("1")


def test_closed_executor_says_so_whatever_it_is_asked(executor):
    executor.cleanup()
    executor.cleanup()
    for call in (lambda: executor("1"), lambda: executor.send_tools({}), lambda: executor.send_variables({"a": 1})):
        with pytest.raises(InterpreterError, match="this executor is closed"):
            call()
    (step,) = [s for s in agent_of_closed(executor) if getattr(s, "error", None)][:1]
    assert "this executor is closed" in str(step.error)


def agent_of_closed(executor):
    agent = agent_of(executor, ["1"], max_steps=1)
    try:
        agent.run("Go.")
    except InterpreterError as error:
        return [type("Step", (), {"error": error})]
    return agent.memory.steps


def test_cleanup_ends_a_snippet_that_runs(executor):
    ended = []

    def run() -> None:
        try:
            executor("while True: pass")
        except InterpreterError as error:
            ended.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    time.sleep(0.5)
    executor.cleanup()
    thread.join(10)
    assert ended == ["this executor was closed while it ran a snippet"]


@pytest.mark.parametrize("address", ["nonsense", "unix:/nowhere/socket", "127.0.0.1:1"])
def test_executor_that_is_not_there_is_a_clear_error(address):
    with pytest.raises((InvalidRequest, Unavailable), match=re.escape(address)):
        DeepMathExecutor(executor=address)


@pytest.mark.parametrize("imports", [["numpy"], ["numpy.*", "sympy.solvers"], ["*"], []])
def test_imports_that_the_executor_has_are_authorized(new_executor, imports):
    assert new_executor(imports)("import numpy, sympy.solvers\n1").output == 1


@pytest.mark.parametrize(("imports", "missing"), [(["pandas"], "pandas"), (["torch", "numpy", "os.path"], "os, torch")])
def test_import_that_the_executor_does_not_have_is_refused_at_once(new_executor, imports, missing):
    with pytest.raises(InterpreterError, match=f"Non-installed authorized modules: {missing}\\. This executor has"):
        new_executor(imports)


def test_imports_that_are_no_list_are_refused(new_executor):
    with pytest.raises(InterpreterError, match="is a list of modules"):
        new_executor("numpy")


@pytest.mark.parametrize(
    "options", [{"seed": -1}, {"timeout_seconds": 1e6}, {"timeout_seconds": -1}, {"memory_bytes": 1 << 60}]
)
def test_option_out_of_bounds_is_a_clear_error(new_executor, options):
    with pytest.raises(InvalidRequest, match=r"seed|timeout_seconds|limits\."):
        new_executor(**options)("1")


VARIABLES = {
    "json": {"a": 1, "b": [1.5, None, {"c": "é\ud7ff"}], "d": True, "e": ""},
    "beyond_json": {"a": (1, 2), "b": {3}, "c": {1: "x"}, "d": 1j, "e": b"\xff", "f": float("inf")},
    "array": {"a": numpy.arange(6, dtype="f4").reshape(2, 3), "b": numpy.array(1 + 2j), "c": numpy.zeros((0, 3), "u1")},
    "large_array": {"a": numpy.arange(700_000.0).reshape(700, 1000)},
}


@pytest.mark.parametrize("name", VARIABLES)
def test_variables_are_there_as_they_were_sent(executor, name):
    executor.send_tools(FINAL)
    executor.send_variables(VARIABLES[name])
    for key, value in VARIABLES[name].items():
        if name == "large_array":
            shape, total, last = executor(f"{key}.shape, {key}.sum(), {key}[-1, -1]").output
            assert (shape, total, last) == (value.shape, value.sum(), value[-1, -1])
            continue
        output = executor(f"final_answer({key})").output
        assert type(output) is type(value)
        assert numpy.array_equal(output, value)
        assert getattr(output, "dtype", None) == getattr(value, "dtype", None)


def test_variables_of_a_run_reach_its_snippets(executor):
    agent = agent_of(executor, ["final_answer(rows.sum() + offset)"])
    assert agent.run("Go.", additional_args={"rows": numpy.ones(3), "offset": 1}) == 4


def test_variable_is_what_it_was_when_it_was_sent(executor):
    rows = [1]
    executor.send_variables({"rows": rows})
    rows.append(2)
    assert executor("rows").output == [1]
    executor("rows = 0")
    executor.send_variables({"rows": rows})
    assert executor("rows").output == [1, 2]


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"f": open}, "variable 'f' cannot be sent into the sandbox: builtin_function_or_method has no JSON representation"),
        ({"a": numpy.array([object()])}, "variable 'a' cannot be sent into the sandbox: ndarray has no JSON representation"),
        ({"t": "x" * (2 << 20)}, "variable 't' cannot be sent into the sandbox: 2097154 bytes as JSON"),
        ({"a b": 1}, "'a b' cannot be the name of a variable"),
        ({"__builtins__": {}}, "'__builtins__' cannot be the name of a variable"),
        ({f"v{n}": n for n in range(1000)}, "over 999 variables: send them in a dictionary"),
        ({"a": numpy.zeros(5 << 20)}, "the variables have over 32 MiB: send less"),
    ],
    ids=["function", "objects", "long", "name", "dunder", "many", "huge"],
)
def test_variable_that_cannot_be_sent_is_a_clear_error(executor, variables, message):
    with pytest.raises(InterpreterError, match=re.escape(message)):
        executor.send_variables(variables)
    assert executor("1").output == 1


def test_variables_that_were_sent_are_there_after_the_sandbox_was_killed(executor):
    executor.send_variables({"a": 1, "rows": numpy.ones(2)})
    executor("x = 2")
    with pytest.raises(InterpreterError, match="the Python interpreter died under the snippet; the variables of"):
        executor("import random\nrandom._os._exit(1)")
    assert executor("a, float(rows.sum()), sqrt(4)").output == (1, 2.0, 2.0)
    with pytest.raises(InterpreterError, match="NameError: name 'x' is not defined"):
        executor("x")


def test_variables_are_there_after_the_sandbox_was_killed_while_it_took_one(new_executor):
    executor = new_executor(timeout_seconds=1)
    executor.send_variables({"a": 1})
    executor("import numpy\nnumpy.concatenate = lambda *_: sum(iter(int, 1))")
    executor.send_variables({"rows": numpy.zeros(200_000)})
    with pytest.raises(InterpreterError, match="the variables could not be set"):
        executor("1")
    assert executor("a, sqrt(4), rows.shape").output == (1, 2.0, (200_000,))


def test_executor_that_nobody_holds_but_its_own_tool_is_cleaned_up(new_executor, executor_address):
    class Owner:
        def __init__(self) -> None:
            self.executor = DeepMathExecutor(executor=executor_address)
            self.executor.send_tools({"ask": self.ask})

        def ask(self) -> int:
            return 42

    owner = Owner()
    assert owner.executor("ask()").output == 42
    cleanup = owner.executor.cleanup
    del owner
    gc.collect()
    assert not cleanup.alive


def test_prints_are_kept_where_the_snippet_fails(executor):
    step, after = steps(executor, ["x = 1\nprint('partly')\n1 / 0", "x"])
    assert step.observations == "Execution logs:\npartly\n"
    assert str(step.error) == "Code execution failed at line '1 / 0' due to: ZeroDivisionError: division by zero"
    assert after.action_output == 1


def test_prints_are_kept_where_the_snippet_is_killed(new_executor):
    executor = new_executor(timeout_seconds=1)
    with pytest.raises(ExecutionTimeoutError, match="maximum execution time of 1 seconds"):
        executor("print('partly')\nsum(range(10 ** 12))")
    assert executor.state["_print_outputs"] == "partly\n"
    assert executor("1").logs == ""


def test_long_prints_are_cut_as_smolagents_cuts_them(new_executor):
    logs = new_executor(max_print_outputs_length=100)("print('x' * 1000)").logs
    assert "This content has been truncated to stay below 100 characters" in logs
    assert len(new_executor()("print('x' * 10**6)").logs) < 51_000


def test_timeout_ends_the_snippet_and_keeps_its_variables_where_it_can(new_executor):
    executor = new_executor(timeout_seconds=1)
    executor("x = 7")
    with pytest.raises(ExecutionTimeoutError, match="at line 'while True: pass'"):
        executor("y = 1\nwhile True: pass")
    assert executor("x, y").output == (7, 1)


@pytest.mark.parametrize("code", [None, 1, b"1", "x\0", "'\ud800'", "#" * (1 << 20)])
def test_snippet_that_is_none_is_a_clear_error(executor, code):
    with pytest.raises((InterpreterError, InvalidRequest)):
        executor(code)
    assert executor("1").output == 1


def test_long_integer_is_told_as_text(executor):
    (step,) = steps(executor, ["10 ** 5000"])
    assert step.action_output == "1" + "0" * 5000


@tool
def slow(seconds: float) -> str:
    """Takes its time.

    Args:
        seconds: How much.
    """
    time.sleep(seconds)
    return "done"


def test_time_in_a_tool_is_not_the_snippets(new_executor):
    executor = new_executor(timeout_seconds=1)
    executor.send_tools({"slow": slow})
    assert executor("slow(1.5)").output == "done"


def test_tool_that_hangs_is_a_timeout_error_in_the_snippet(new_executor):
    executor = new_executor(tool_timeout_seconds=0.5)
    executor.send_tools({"slow": slow})
    start = time.monotonic()
    with pytest.raises(InterpreterError, match=r"at line 'slow\(60\)' due to: TimeoutError: slow\(\) was not answered"):
        executor("x = 1\nslow(60)")
    assert time.monotonic() - start < 5
    assert executor("x").output == 1


def test_tool_that_hangs_does_not_keep_the_program_from_ending(executor_address):
    code = f"""
import time
from deepmath.integrations.smolagents import DeepMathExecutor
executor = DeepMathExecutor(executor={executor_address!r}, tool_timeout_seconds=0.3)
executor.send_tools({{"hang": lambda: time.sleep(600)}})
try: executor("hang()")
except Exception as error: print(error)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert "TimeoutError: hang() was not answered within 0.3 s" in ended.stdout
    assert ended.stderr == ""


@pytest.mark.parametrize("value", [object(), open, {"a": object()}, numpy.array(["x"]), 10**5000], ids=type)
def test_tool_that_returns_what_json_cannot_hold_is_a_clear_error(executor, value):
    executor.send_tools({"give": lambda: value})
    with pytest.raises(InterpreterError, match=r"give\(\) returned a value that cannot be sent into the sandbox"):
        executor("give()")
    assert executor("1").output == 1


@pytest.mark.parametrize("error", [SystemExit("out"), KeyboardInterrupt(), StopIteration(1), GeneratorExit()])
def test_tool_that_raises_what_ends_programs_is_an_error_of_the_snippet(executor, error):
    def end() -> None:
        raise error

    executor.send_tools({"end": end})
    with pytest.raises(InterpreterError, match=f"RuntimeError: {type(error).__name__}"):
        executor("end()")
    assert executor("1").output == 1


def test_tool_that_uses_its_own_executor_is_told_that_it_cannot(executor):
    executor.send_tools({"again": lambda: executor("1 + 1").output})
    with pytest.raises(InterpreterError, match="InterpreterError: this executor is running a snippet"):
        executor("again()")
    assert executor("1").output == 1


def test_tool_that_runs_its_own_agent_again_is_told_that_it_cannot(executor):
    @tool
    def again(task: str) -> str:
        """Runs the agent again.

        Args:
            task: What for.
        """
        return agent.run(task)

    agent = agent_of(executor, ["again('more')", "final_answer('went on')"], [again], max_steps=3)
    assert agent.run("Go.") == "went on"


def test_tool_may_run_an_agent_with_an_executor_of_its_own(new_executor):
    @tool
    def delegate(task: str) -> int:
        """Lets another agent do it.

        Args:
            task: What.
        """
        return agent_of(new_executor(), ["final_answer(6 * 7)"]).run(task)

    assert agent_of(new_executor(), ["final_answer(delegate('x') + 1)"], [delegate]).run("Go.") == 43


def test_arguments_by_name_are_those_of_the_tool_in_whatever_order_it_lists_them(executor):
    class Subtract(Tool):
        name, description, output_type = "subtract", "Subtracts.", "number"
        inputs = {n: {"type": "number", "description": "A number."} for n in ("b", "a")}  # noqa: RUF012 - smolagents'

        def forward(self, a: float, b: float) -> float:
            return a - b

    executor.send_tools({"subtract": Subtract()})
    assert executor("subtract(a=10, b=3), subtract(10, 3), subtract(10, b=3)").output == (7, 7, 7)


def test_managed_agent_takes_additional_arguments(new_executor):
    helper = agent_of(new_executor(), ["final_answer(x + 1)"], name="helper", description="Adds.")
    code = "final_answer('42' in helper(task='go', additional_args={'x': 41}))"
    assert agent_of(new_executor(), [code], managed_agents=[helper]).run("Go.") is True


def test_managed_agent_is_called_like_a_tool(new_executor):
    helper = agent_of(new_executor(), ["final_answer(6 * 7)"], name="helper", description="Multiplies.")
    manager = agent_of(new_executor(), ["r = helper(task='go')\nfinal_answer('42' in r)"], managed_agents=[helper])
    assert manager.run("Go.") is True


def test_tools_run_in_the_callers_process_and_snippets_do_not(executor):
    executor.send_tools({"pid": lambda: __import__("os").getpid()})
    import os

    assert executor("pid()").output == os.getpid()
    assert executor("import random\nrandom._os.getpid()").output != os.getpid()


def test_too_many_calls_of_one_snippet_are_refused(new_executor):
    executor = new_executor(max_tool_calls=3)
    executor.send_tools({"add": add})
    with pytest.raises(InterpreterError, match="RuntimeError: this snippet may make 3 calls"):
        executor("[add(n, 1) for n in range(10)]")
    assert executor("[add(n, 1) for n in range(3)]").output == [1, 2, 3]


def test_tool_of_a_name_that_no_function_can_have_is_a_clear_error(executor):
    executor.send_tools({"a b": add})
    with pytest.raises(InvalidRequest, match=r"host\.functions has 'a b'"):
        executor("1")


class Picky(FinalAnswerTool):
    def forward(self, answer):
        if answer == "bad":
            raise ValueError("not good enough")
        return {"answer": answer, "by": self}


def test_final_answer_is_what_the_tool_makes_of_it(executor):
    executor.send_tools({"final_answer": Picky()})
    output = executor("try:\n    final_answer('bad')\nexcept ValueError as e:\n    print(e)\nfinal_answer('good')")
    assert (output.output["answer"], output.is_final_answer, output.logs) == ("good", True, "not good enough\n")
    assert isinstance(output.output["by"], Picky)


def test_final_answer_counts_whatever_the_snippet_does_behind_it(new_executor):
    executor = new_executor(timeout_seconds=1)
    executor.send_tools(FINAL)
    output = executor(
        "try:\n    final_answer(1)\nexcept:\n    pass\ntry: final_answer(2)\nexcept: pass\nwhile True: pass"
    )
    assert (output.output, output.is_final_answer) == (1, True)


def test_same_seed_gives_the_same_numbers(new_executor):
    code = "import random, numpy\nrandom.random(), float(numpy.random.rand())"
    assert new_executor(seed=3)(code) == new_executor(seed=3)(code) != new_executor(seed=4)(code)


class Calls:
    def __init__(self) -> None:
        self.made: list[str] = []

    def __call__(self, what: str) -> int:
        self.made.append(what)
        return len(self.made)


async def test_executor_that_dies_is_replaced_and_no_tool_is_called_twice(tmp_path):
    import asyncio

    count = Calls()
    async with running(tmp_path, "--waiting-sandboxes=1") as first:
        address = f"unix:{tmp_path}/socket"
        executor = await asyncio.to_thread(DeepMathExecutor, (), address)
        executor.send_variables({"rows": numpy.arange(3.0)})
        executor.send_tools({"count": count, "die": first.process.kill})
        assert (await asyncio.to_thread(executor, "x = count('a')\nx")).output == 1
        code = "y = count('b')\ndie()\nx, y, count('c'), rows.sum()"
        under_way = asyncio.create_task(asyncio.to_thread(executor, code))
        await first.process.wait()
    async with running(tmp_path, "--waiting-sandboxes=1"):
        assert (await under_way).output == (1, 2, 3, 3.0)
        assert (await asyncio.to_thread(executor, "x + y")).output == 3
        await asyncio.to_thread(executor.cleanup)
    assert count.made == ["a", "b", "c"]


def test_embedded_executor_that_dies_is_a_clear_error():
    before = set(psutil.Process().children())
    with DeepMathExecutor() as executor:
        executor("x = 1")
        (embedded,) = set(psutil.Process().children()) - before
        embedded.kill()
        with pytest.raises(Unavailable, match="no executor ran the snippet in 10 s"):
            executor("x")


def test_agent_with_tools_solves_its_task(executor):
    agent = CodeAgent(TOOLS, Scripted(["x = add(1, 2)\nprint(x)", "final_answer(add(x, 39))"]), executor=executor)
    assert agent.run("Go.") == 42
