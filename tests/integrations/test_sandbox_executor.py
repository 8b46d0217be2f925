"""DeepMathExecutor under smolagents' agents: variables, tools, limits, errors and cleanup."""

import gc
import re
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path

import numpy
import psutil
import pytest
from smolagents import CodeAgent, FinalAnswerTool, Tool, tool
from smolagents.local_python_executor import ExecutionTimeoutError, InterpreterError
from support.executor_process import running

from deepmath.errors import InvalidRequest, Unavailable
from deepmath.integrations.smolagents import DeepMathExecutor, sandbox_executor

from .scripted_agents import TOOLS, ScriptedModel, add, run_snippets, scripted_agent

ROOT = Path(__file__).resolve().parents[2]
FINAL = {"final_answer": FinalAnswerTool()}


def test_readme_example_runs():
    (example,) = re.findall(r"```python\n(from smolagents .*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len([line for line in example.splitlines() if line.strip()]) <= 6
    names = {"model": ScriptedModel(["final_answer(sum(n * n for n in range(1, 41)))"]), "multiply": add}
    exec(example, names)
    assert names["answer"] == 22140


@pytest.mark.slow
def test_example_script_runs():
    command = [sys.executable, "examples/code_agent_in_the_sandbox.py"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "final answer:" in ended.stdout


def test_embedded_executor_stops_with_its_block_and_removes_its_socket():
    with DeepMathExecutor() as executor:
        assert executor("1 + 1").output == 2
        socket = Path(executor.address.removeprefix("unix:"))
        assert socket.exists()
    assert not socket.parent.exists()


def test_embedded_executor_stops_when_the_program_exits():
    code = (
        "from deepmath.integrations.smolagents import DeepMathExecutor\n"
        "e = DeepMathExecutor()\nprint(e('1 + 1').output, e.address)"
    )
    out = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    assert out[0] == "2"
    assert not Path(out[1].removeprefix("unix:")).parent.exists()


def test_agent_cleanup_closes_its_executor(new_executor):
    executor = new_executor()
    with scripted_agent(executor, ["final_answer(1)"]) as agent:
        assert agent.run("Go.") == 1
    with pytest.raises(InterpreterError, match="this executor is closed; create another"):
        executor("1")


def test_closed_executor_rejects_every_call(code_executor):
    code_executor.cleanup()
    code_executor.cleanup()
    for call in (
        lambda: code_executor("1"),
        lambda: code_executor.send_tools({}),
        lambda: code_executor.send_variables({"a": 1}),
    ):
        with pytest.raises(InterpreterError, match="this executor is closed"):
            call()
    (step,) = [s for s in steps_of_closed(code_executor) if getattr(s, "error", None)][:1]
    assert "this executor is closed" in str(step.error)


def steps_of_closed(executor):
    agent = scripted_agent(executor, ["1"], max_steps=1)
    try:
        agent.run("Go.")
    except InterpreterError as error:
        return [type("Step", (), {"error": error})]
    return agent.memory.steps


def test_cleanup_stops_a_running_snippet(code_executor):
    ended = []

    def run() -> None:
        try:
            code_executor("while True: pass")
        except InterpreterError as error:
            ended.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    time.sleep(0.5)
    code_executor.cleanup()
    thread.join(10)
    assert ended == ["this executor was closed while it ran a snippet"]


@pytest.mark.parametrize("address", ["nonsense", "unix:/nowhere/socket", "127.0.0.1:1"])
def test_unreachable_executor_is_an_error_with_its_address(address):
    with pytest.raises((InvalidRequest, Unavailable), match=re.escape(address)):
        DeepMathExecutor(executor=address)


@pytest.mark.parametrize("imports", [["numpy"], ["numpy.*", "sympy.solvers"], ["*"], []])
def test_imports_that_the_executor_has_are_authorized(new_executor, imports):
    assert new_executor(imports)("import numpy, sympy.solvers\n1").output == 1


@pytest.mark.parametrize(("imports", "missing"), [(["pandas"], "pandas"), (["torch", "numpy", "os.path"], "os, torch")])
def test_import_that_the_executor_lacks_is_rejected_at_construction(new_executor, imports, missing):
    with pytest.raises(InterpreterError, match=f"Non-installed authorized modules: {missing}\\. This executor has"):
        new_executor(imports)


def test_imports_given_as_a_string_are_rejected(new_executor):
    with pytest.raises(InterpreterError, match="must be a list of modules"):
        new_executor("numpy")


@pytest.mark.parametrize(
    "options", [{"seed": -1}, {"timeout_seconds": 1e6}, {"timeout_seconds": -1}, {"memory_bytes": 1 << 60}]
)
def test_out_of_range_option_is_rejected(new_executor, options):
    with pytest.raises(InvalidRequest, match=r"seed|timeout_seconds|limits\."):
        new_executor(**options)("1")


VARIABLES = {
    "json": {"a": 1, "b": [1.5, None, {"c": "é\ud7ff"}], "d": True, "e": ""},
    "beyond_json": {"a": (1, 2), "b": {3}, "c": {1: "x"}, "d": 1j, "e": b"\xff", "f": float("inf")},
    "array": {"a": numpy.arange(6, dtype="f4").reshape(2, 3), "b": numpy.array(1 + 2j), "c": numpy.zeros((0, 3), "u1")},
    "large_array": {"a": numpy.arange(700_000.0).reshape(700, 1000)},
}


@pytest.mark.parametrize("name", VARIABLES)
def test_variables_arrive_with_their_types_and_values(code_executor, name):
    code_executor.send_tools(FINAL)
    code_executor.send_variables(VARIABLES[name])
    for key, value in VARIABLES[name].items():
        if name == "large_array":
            shape, total, last = code_executor(f"{key}.shape, {key}.sum(), {key}[-1, -1]").output
            assert (shape, total, last) == (value.shape, value.sum(), value[-1, -1])
            continue
        output = code_executor(f"final_answer({key})").output
        assert type(output) is type(value)
        assert numpy.array_equal(output, value)
        assert getattr(output, "dtype", None) == getattr(value, "dtype", None)


def test_variables_of_a_run_reach_its_snippets(code_executor):
    agent = scripted_agent(code_executor, ["final_answer(rows.sum() + offset)"])
    assert agent.run("Go.", additional_args={"rows": numpy.ones(3), "offset": 1}) == 4


def test_variable_is_a_copy_of_the_value_at_the_time_of_sending(code_executor):
    rows = [1]
    code_executor.send_variables({"rows": rows})
    rows.append(2)
    assert code_executor("rows").output == [1]
    code_executor("rows = 0")
    code_executor.send_variables({"rows": rows})
    assert code_executor("rows").output == [1, 2]


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (
            {"f": open},
            "variable 'f' cannot be sent into the sandbox: builtin_function_or_method has no JSON representation",
        ),
        (
            {"a": numpy.array([object()])},
            "variable 'a' cannot be sent into the sandbox: ndarray has no JSON representation",
        ),
        ({"t": "x" * (2 << 20)}, "variable 't' cannot be sent into the sandbox: 2097154 bytes as JSON"),
        ({"a b": 1}, "'a b' is not a valid variable name"),
        ({"__builtins__": {}}, "'__builtins__' is not a valid variable name"),
        ({f"v{n}": n for n in range(1000)}, "more than 999 variables; send them in a dictionary"),
        ({"a": numpy.zeros(5 << 20)}, "the variables exceed 32 MiB; send less"),
    ],
    ids=["function", "objects", "long", "name", "dunder", "many", "huge"],
)
def test_unsupported_variable_is_rejected(code_executor, variables, message):
    with pytest.raises(InterpreterError, match=re.escape(message)):
        code_executor.send_variables(variables)
    assert code_executor("1").output == 1


def test_sent_variables_are_restored_after_the_sandbox_is_killed(code_executor):
    code_executor.send_variables({"a": 1, "rows": numpy.ones(2)})
    code_executor("x = 2")
    with pytest.raises(
        InterpreterError, match="the Python interpreter crashed while it ran the snippet; the variables of"
    ):
        code_executor("import random\nrandom._os._exit(1)")
    assert code_executor("a, float(rows.sum()), sqrt(4)").output == (1, 2.0, 2.0)
    with pytest.raises(InterpreterError, match="NameError: name 'x' is not defined"):
        code_executor("x")


def test_sent_variables_are_restored_after_the_sandbox_is_killed_during_a_transfer(new_executor):
    executor = new_executor(timeout_seconds=1)
    executor.send_variables({"a": 1})
    executor("import numpy\nnumpy.concatenate = lambda *_: sum(iter(int, 1))")
    executor.send_variables({"rows": numpy.zeros(200_000)})
    with pytest.raises(InterpreterError, match="the variables could not be set"):
        executor("1")
    assert executor("a, sqrt(4), rows.shape").output == (1, 2.0, (200_000,))


def test_executor_referenced_only_by_its_own_tool_is_cleaned_up(new_executor, executor_address):
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
    assert isinstance(cleanup, weakref.finalize)
    assert not cleanup.alive


def test_output_of_a_failed_snippet_is_kept(code_executor):
    step, after = run_snippets(code_executor, ["x = 1\nprint('partly')\n1 / 0", "x"])
    assert step.observations == "Execution logs:\npartly\n"
    assert str(step.error) == "Code execution failed at line '1 / 0' due to: ZeroDivisionError: division by zero"
    assert after.action_output == 1


def test_output_of_a_killed_snippet_is_kept(new_executor):
    executor = new_executor(timeout_seconds=1)
    with pytest.raises(ExecutionTimeoutError, match="maximum execution time of 1 seconds"):
        executor("print('partly')\nsum(range(10 ** 12))")
    assert executor.state["_print_outputs"] == "partly\n"
    assert executor("1").logs == ""


def test_long_output_is_truncated_like_smolagents_does(new_executor):
    logs = new_executor(max_print_outputs_length=100)("print('x' * 1000)").logs
    assert "This content has been truncated to stay below 100 characters" in logs
    assert len(new_executor()("print('x' * 10**6)").logs) < 51_000


def test_timeout_stops_the_snippet_and_keeps_its_variables(new_executor):
    executor = new_executor(timeout_seconds=1)
    executor("x = 7")
    with pytest.raises(ExecutionTimeoutError, match="at line 'while True: pass'"):
        executor("y = 1\nwhile True: pass")
    assert executor("x, y").output == (7, 1)


@pytest.mark.parametrize("code", [None, 1, b"1", "x\0", "'\ud800'", "#" * (1 << 20)])
def test_invalid_snippet_is_rejected(code_executor, code):
    with pytest.raises((InterpreterError, InvalidRequest)):
        code_executor(code)
    assert code_executor("1").output == 1


def test_long_integer_is_returned_as_text(code_executor):
    (step,) = run_snippets(code_executor, ["10 ** 5000"])
    assert step.action_output == "1" + "0" * 5000


@tool
def slow(seconds: float) -> str:
    """Takes its time.

    Args:
        seconds: How much.
    """
    time.sleep(seconds)
    return "done"


def test_time_in_a_tool_does_not_count_for_the_snippet(new_executor):
    executor = new_executor(timeout_seconds=1)
    executor.send_tools({"slow": slow})
    assert executor("slow(1.5)").output == "done"


def test_hanging_tool_is_a_timeout_error_in_the_snippet(new_executor):
    executor = new_executor(tool_timeout_seconds=0.5)
    executor.send_tools({"slow": slow})
    start = time.monotonic()
    with pytest.raises(InterpreterError, match=r"at line 'slow\(60\)' due to: TimeoutError: slow\(\) was not answered"):
        executor("x = 1\nslow(60)")
    assert time.monotonic() - start < 5
    assert executor("x").output == 1


def test_hanging_tool_does_not_delay_the_exit_of_the_program(executor_address):
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
def test_tool_result_without_a_json_representation_is_an_error(code_executor, value):
    code_executor.send_tools({"give": lambda: value})
    with pytest.raises(InterpreterError, match=r"give\(\) returned a value that cannot be sent into the sandbox"):
        code_executor("give()")
    assert code_executor("1").output == 1


@pytest.mark.parametrize("error", [SystemExit("out"), KeyboardInterrupt(), StopIteration(1), GeneratorExit()])
def test_exit_exception_of_a_tool_is_a_runtime_error_in_the_snippet(code_executor, error):
    def end() -> None:
        raise error

    code_executor.send_tools({"end": end})
    with pytest.raises(InterpreterError, match=f"RuntimeError: {type(error).__name__}"):
        code_executor("end()")
    assert code_executor("1").output == 1


def test_tool_that_uses_its_own_executor_gets_an_error(code_executor):
    code_executor.send_tools({"again": lambda: code_executor("1 + 1").output})
    with pytest.raises(InterpreterError, match="InterpreterError: this executor is running a snippet"):
        code_executor("again()")
    assert code_executor("1").output == 1


def test_tool_that_runs_its_own_agent_gets_an_error_and_the_agent_continues(code_executor):
    @tool
    def again(task: str) -> str:
        """Runs the agent again.

        Args:
            task: What for.
        """
        return agent.run(task)

    agent = scripted_agent(code_executor, ["again('more')", "final_answer('went on')"], [again], max_steps=3)
    assert agent.run("Go.") == "went on"


def test_tool_may_run_an_agent_with_an_executor_of_its_own(new_executor):
    @tool
    def delegate(task: str) -> int:
        """Lets another agent do it.

        Args:
            task: What.
        """
        return scripted_agent(new_executor(), ["final_answer(6 * 7)"]).run(task)

    assert scripted_agent(new_executor(), ["final_answer(delegate('x') + 1)"], [delegate]).run("Go.") == 43


def test_keyword_arguments_follow_the_signature_of_forward(code_executor):
    class Subtract(Tool):
        name, description, output_type = "subtract", "Subtracts.", "number"
        inputs = {n: {"type": "number", "description": "A number."} for n in ("b", "a")}  # noqa: RUF012 - smolagents'

        def forward(self, a: float, b: float) -> float:
            return a - b

    code_executor.send_tools({"subtract": Subtract()})
    assert code_executor("subtract(a=10, b=3), subtract(10, 3), subtract(10, b=3)").output == (7, 7, 7)


def test_managed_agent_takes_additional_arguments(new_executor):
    helper = scripted_agent(new_executor(), ["final_answer(x + 1)"], name="helper", description="Adds.")
    code = "final_answer('42' in helper(task='go', additional_args={'x': 41}))"
    assert scripted_agent(new_executor(), [code], managed_agents=[helper]).run("Go.") is True


def test_managed_agent_is_called_like_a_tool(new_executor):
    helper = scripted_agent(new_executor(), ["final_answer(6 * 7)"], name="helper", description="Multiplies.")
    manager = scripted_agent(
        new_executor(), ["r = helper(task='go')\nfinal_answer('42' in r)"], managed_agents=[helper]
    )
    assert manager.run("Go.") is True


def test_tools_run_in_the_callers_process_and_snippets_do_not(code_executor):
    code_executor.send_tools({"pid": lambda: __import__("os").getpid()})
    import os

    assert code_executor("pid()").output == os.getpid()
    assert code_executor("import random\nrandom._os.getpid()").output != os.getpid()


def test_tool_calls_beyond_the_limit_are_refused(new_executor):
    executor = new_executor(max_tool_calls=3)
    executor.send_tools({"add": add})
    with pytest.raises(InterpreterError, match="RuntimeError: this snippet has made all of its 3 calls"):
        executor("[add(n, 1) for n in range(10)]")
    assert executor("[add(n, 1) for n in range(3)]").output == [1, 2, 3]


def test_tool_with_an_invalid_name_is_rejected(code_executor):
    code_executor.send_tools({"a b": add})
    with pytest.raises(InvalidRequest, match=r"host\.functions contains the invalid name 'a b'"):
        code_executor("1")


class Picky(FinalAnswerTool):
    def forward(self, answer):
        if answer == "bad":
            raise ValueError("not good enough")
        return {"answer": answer, "by": self}


def test_final_answer_is_the_result_of_its_tool(code_executor):
    code_executor.send_tools({"final_answer": Picky()})
    output = code_executor("try:\n    final_answer('bad')\nexcept ValueError as e:\n    print(e)\nfinal_answer('good')")
    assert (output.output["answer"], output.is_final_answer, output.logs) == ("good", True, "not good enough\n")
    assert isinstance(output.output["by"], Picky)


def test_final_answer_stands_whatever_the_snippet_does_afterwards(new_executor):
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


async def test_killed_executor_is_replaced_and_no_tool_is_called_twice(tmp_path):
    import asyncio

    count = Calls()
    async with running(tmp_path, "--waiting-sandboxes=1") as first:
        address = f"unix:{tmp_path}/socket"
        executor = await asyncio.to_thread(DeepMathExecutor, (), address)
        executor.send_variables({"rows": numpy.arange(3.0)})
        executor.send_tools({"count": count, "die": first.process.kill})
        assert (await asyncio.to_thread(executor, "x = count('a')\nx")).output == 1
        code = "y = count('b')\ndie()\nx, y, count('c'), rows.sum()"
        in_flight = asyncio.create_task(asyncio.to_thread(executor, code))
        await first.process.wait()
    async with running(tmp_path, "--waiting-sandboxes=1"):
        assert (await in_flight).output == (1, 2, 3, 3.0)
        assert (await asyncio.to_thread(executor, "x + y")).output == 3
        await asyncio.to_thread(executor.cleanup)
    assert count.made == ["a", "b", "c"]


def test_killed_embedded_executor_is_unavailable(monkeypatch):
    monkeypatch.setattr(sandbox_executor, "_EMBEDDED_PATIENCE_S", 2.0)
    before = set(psutil.Process().children())
    with DeepMathExecutor() as executor:
        executor("x = 1")
        started = set(psutil.Process().children()) - before
        (embedded,) = (process for process in started if "deepmath_executor" in process.cmdline())
        embedded.kill()
        with pytest.raises(Unavailable, match="no executor ran the snippet in 2 s"):
            executor("x")


def test_agent_with_tools_solves_its_task(code_executor):
    agent = CodeAgent(
        TOOLS, ScriptedModel(["x = add(1, 2)\nprint(x)", "final_answer(add(x, 39))"]), executor=code_executor
    )
    assert agent.run("Go.") == 42
