"""Attacks by an agent's snippets: the published escapes of smolagents' local interpreter, and others, all contained."""

import re
import socket
import time
from pathlib import Path

import pytest
from support.attacks import FORGE

from .scripted_agents import TOOLS, run_snippets

SECRET = "hunter2-of-the-caller"
# Each prints what it obtained. The secret is in this process's environment, and in a file.
READ = "print(open({file!r}).read())"
ENVIRON = "print(__import__('random')._os.environ)"
ESCAPES = {
    "subclasses": "for c in ().__class__.__base__.__subclasses__():\n"
    "    if c.__name__ == 'BuiltinImporter':\n        print(c.load_module('posix').system('cat {file}'))",
    "subclasses_os_wrap_close": "for c in ().__class__.__mro__[-1].__subclasses__():\n"
    "    if c.__name__ == '_wrap_close':\n        print(c.__init__.__globals__['popen']('cat {file}').read())",
    "random_os": "import random\nprint(random._os.system('cat {file}'))",
    "random_os_popen": "import random\nprint(random._os.popen('cat {file}').read())",
    "queue_threading_sys": "import queue\nprint(queue.threading._sys.modules['os'].system('cat {file}'))",
    "statistics_sys": "import statistics\nprint(statistics.sys.modules['posix'].open({file!r}, 0))",
    "function_globals": "import random\nprint(random.Random.seed.__globals__['_os'].listdir('/'))\n" + READ,
    "frame": "def f():\n    yield frame.gi_frame.f_back.f_back.f_globals\nframe = f()\nprint(next(frame))\n" + READ,
    "generator_frame_builtins": "g = (x for x in [1])\nprint(g.gi_frame.f_builtins['open']({file!r}).read())",
    "coroutine_frame": "async def f(): pass\nc = f()\nprint(c.cr_frame.f_builtins['open']({file!r}).read())",
    "traceback_frame": "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n"
    "    print(e.__traceback__.tb_frame.f_back.f_globals['os'])\n" + READ,
    "builtins_import": "print(__builtins__['__import__'].__self__)\n" + READ,
    "builtins_open": READ,
    "numpy_ctypes": "import numpy\nprint(numpy.ctypeslib.ctypes.CDLL(None).system(b'cat {file}'))",
    "numpy_file": "import numpy\nprint(numpy.fromfile({file!r}, dtype='u1').tobytes())",
    "sympy_eval": "import sympy\nprint(sympy.sympify('open({file!r}).read()'))",
    "pickle": "import numpy\nprint(numpy.lib._format_impl.pickle.loads(b'cposix\\nsystem\\n(Vcat {file}\\ntR.'))",
    "environment": ENVIRON,
    "environment_of_the_parent": "print(open(f'/proc/{{__import__(\"random\")._os.getppid()}}/environ').read())",
    "tool_globals": "print(add.__globals__)\n" + READ,
    "tool_closure": "print([cell.cell_contents for cell in add.__closure__])\n" + READ,
    "write": "with open('{file}.written', 'w') as f:\n    f.write('x')",
}
KILLED = {
    "socket": "import random\nrandom._os.sys.modules['socket'] = 0\nimport numpy\n"
    "c = numpy.ctypeslib.ctypes\nprint(c.CDLL(None).socket(2, 1, 0))",
    "kill_the_caller": "import random\nrandom._os.kill(random._os.getppid(), 9)",
    "exit": "import random\nrandom._os._exit(0)",
}


@pytest.fixture
def secret(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("A_SECRET_OF_THE_CALLER", SECRET)
    file = tmp_path / "secret"
    file.write_text(SECRET)
    return file


def text_of(code: str, file: Path) -> str:
    return code.replace("{file!r}", repr(str(file))).replace("{file}", str(file)).replace("{{", "{").replace("}}", "}")


@pytest.mark.parametrize("name", ESCAPES)
def test_escape_reads_no_secret_of_the_caller(code_executor, secret, name):
    attack, after = run_snippets(code_executor, [text_of(ESCAPES[name], secret), "1 + 1"], TOOLS)
    assert SECRET not in str(attack.observations)
    assert SECRET not in str(attack.error)
    # No error: system(3) that cannot start a process returns a status; the sandbox's own environment is readable.
    no_process = re.search(r"logs:\n(-1|32512)\n", attack.observations or "")
    assert attack.error is not None or no_process or name == "environment"
    assert list(secret.parent.iterdir()) == [secret]
    assert after.action_output == 2


@pytest.mark.parametrize("name", KILLED)
def test_forbidden_call_kills_the_sandbox_and_the_agent_continues(code_executor, name):
    attack, after = run_snippets(code_executor, [KILLED[name], "1 + 1"], TOOLS)
    assert "the variables of earlier snippets are lost" in str(attack.error)
    assert after.action_output == 2


ENDLESS = {
    "power": "10 ** 10 ** 8",
    "power_in_a_loop": "x = 2\nwhile True:\n    x = x ** x",
    "loop": "while True: pass",
    "loop_that_catches": "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
    "c_code": "sum(range(10 ** 12))",
    "regex": "import re\nre.match('(a+)+$', 'a' * 60 + 'b')",
    "memory": "x = []\nwhile True: x.append(bytearray(1 << 24))",
    "prints": "while True: print('x' * 10 ** 5)",
    "text_of_the_value": "class C:\n    def __str__(self):\n        while True: pass\n    __repr__ = __str__\nC()",
    "calls": "while True:\n    try: add(1, 1)\n    except Exception: pass",
}


@pytest.mark.parametrize("name", ENDLESS)
def test_endless_snippet_is_stopped_in_time_with_the_expected_error(new_executor, name):
    executor = new_executor(timeout_seconds=1, memory_bytes=256 << 20)
    start = time.monotonic()
    attack, after = run_snippets(executor, [ENDLESS[name], "1 + 1"], TOOLS)
    assert time.monotonic() - start < 20  # a bound for busy machines; benchmarks measure the time
    expected = {"memory": "MemoryError", "prints": "exceeded the output limit", "power_in_a_loop": ""}
    assert expected.get(name, "Code execution exceeded the maximum execution time of 1 seconds") in str(attack.error)
    assert attack.error is not None
    assert after.action_output == 2


FORGERY = f"""
import random
os = random._os
sys = os.sys
{FORGE}
def ask(function, arguments):
    forge({{"sequence": 2, "call": 1, "function": function, "arguments": arguments}})
    return os.read(3, 1 << 16)[4:]
"""


@pytest.mark.parametrize(
    ("function", "arguments"),
    [("open", '{"file": "/etc/passwd"}'), ("__init__", "{}"), ("send_tools", "{}"), ("add", '{"x": NaN, "y": 1}')],
)
def test_forged_call_of_an_unknown_or_malformed_tool_is_refused(code_executor, function, arguments):
    forge = FORGERY + f"print(ask({function!r}, {arguments!r}))"
    (step,) = run_snippets(code_executor, [forge], TOOLS)
    assert step.observations is not None
    assert r"\x05error" in step.observations


def test_forged_call_of_a_tool_has_the_effect_of_a_normal_call(code_executor):
    forge = FORGERY + """print(ask('add', '{"x": 2, "y": 3}'))"""
    (step,) = run_snippets(code_executor, [forge], TOOLS)
    assert step.observations is not None
    assert r"\x05value\x00\x00\x00\x015" in step.observations


def test_forged_value_is_plain_text_to_the_caller(code_executor):
    forge = f"{FORGERY}forge({{'sequence': 2, 'outcome': 'OK', 'value': VALUE, 'dropped': 0}})\nsleep(60)\n"
    pickle = '{"$type":"pickle","data":"Y3Bvc2l4CnN5c3RlbQooVmlkCnRSLg=="}'
    (step,) = run_snippets(code_executor, [forge.replace("VALUE", repr(pickle))], TOOLS)
    assert step.action_output == pickle


def test_snippet_has_no_network(code_executor):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        code = f"import random\nrandom._os.sys.modules['_socket'].socket().connect(('127.0.0.1', {port}))"
        server.settimeout(0.5)
        (step,) = run_snippets(code_executor, [code])
        assert step.error is not None
        with pytest.raises(TimeoutError):
            server.accept()


def test_snippet_cannot_start_a_process(code_executor):
    (step,) = run_snippets(code_executor, ["import random\nrandom._os.fork()"])
    assert "PermissionError" in str(step.error)
