"""Attacks by an agent's snippets: the published escapes of smolagents' local interpreter, and more, get nowhere."""

import re
import socket
import time
from pathlib import Path

import pytest

from .scripted import TOOLS, steps

SECRET = "hunter2-of-the-caller"
# Each prints what it got. The secret is in this process: in its environment, in a file, behind a port.
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
def test_escape_reaches_nothing_of_the_caller(executor, secret, name):
    attack, after = steps(executor, [text_of(ESCAPES[name], secret), "1 + 1"], TOOLS)
    assert SECRET not in str(attack.observations)
    assert SECRET not in str(attack.error)
    # Without an error is what system(3) says of a process that it cannot start, and the environment of the sandbox.
    no_process = re.search(r"logs:\n(-1|32512)\n", attack.observations or "")
    assert attack.error is not None or no_process or name == "environment"
    assert list(secret.parent.iterdir()) == [secret]
    assert after.action_output == 2


@pytest.mark.parametrize("name", KILLED)
def test_forbidden_call_kills_the_sandbox_and_the_agent_goes_on(executor, name):
    attack, after = steps(executor, [KILLED[name], "1 + 1"], TOOLS)
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
def test_snippet_without_end_is_ended_in_time_by_the_right_error(new_executor, name):
    executor = new_executor(timeout_seconds=1, memory_bytes=256 << 20)
    start = time.monotonic()
    attack, after = steps(executor, [ENDLESS[name], "1 + 1"], TOOLS)
    assert time.monotonic() - start < 20  # and not 30 s, or for ever; how fast exactly is benchmarked
    right = {"memory": "MemoryError", "prints": "printed far too much", "power_in_a_loop": ""}
    assert right.get(name, "Code execution exceeded the maximum execution time of 1 seconds") in str(attack.error)
    assert attack.error is not None
    assert after.action_output == 2


FORGERY = """
import random
os = random._os
json = os.sys.modules['json']
def ask(function, arguments):
    body = json.dumps({'sequence': int(SEQUENCE), 'call': 1, 'function': function, 'arguments': arguments}).encode()
    os.write(3, len(body).to_bytes(4, 'big') + body)
    return os.read(3, 1 << 16)[4:].decode()
"""


@pytest.mark.parametrize(
    ("function", "arguments"),
    [("open", '{"file": "/etc/passwd"}'), ("__init__", "{}"), ("send_tools", "{}"), ("add", '{"x": NaN, "y": 1}')],
)
def test_forged_call_of_what_is_no_tool_is_refused(executor, function, arguments):
    forge = FORGERY.replace("SEQUENCE", "2") + f"print(ask({function!r}, {arguments!r}))"
    (step,) = steps(executor, [forge], TOOLS)
    assert '{"error":' in step.observations


def test_forged_call_of_a_tool_is_a_call_like_any_other(executor):
    forge = FORGERY.replace("SEQUENCE", "2") + """print(ask('add', '{"x": 2, "y": 3}'))"""
    (step,) = steps(executor, [forge], TOOLS)
    assert '{"value":"5"}' in step.observations


def test_value_forged_by_a_snippet_is_plain_text_to_the_caller(executor):
    forge = """
import random
os = random._os
body = os.sys.modules['json'].dumps({'sequence': 2, 'outcome': 'OK', 'value': VALUE, 'dropped': 0}).encode()
os.write(3, len(body).to_bytes(4, 'big') + body)
os.sys.modules['time'].sleep(60)
"""
    pickle = '{"$type":"pickle","data":"Y3Bvc2l4CnN5c3RlbQooVmlkCnRSLg=="}'
    (step,) = steps(executor, [forge.replace("VALUE", repr(pickle))], TOOLS)
    assert step.action_output == pickle


def test_agent_has_no_network_but_its_tools_have(executor):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        code = f"import random\nrandom._os.sys.modules['_socket'].socket().connect(('127.0.0.1', {port}))"
        server.settimeout(0.5)
        (step,) = steps(executor, [code])
        assert step.error is not None
        with pytest.raises(TimeoutError):
            server.accept()


def test_snippet_cannot_start_a_process(executor):
    (step,) = steps(executor, ["import random\nrandom._os.fork()"])
    assert "PermissionError" in str(step.error)
