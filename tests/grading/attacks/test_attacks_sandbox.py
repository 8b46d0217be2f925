"""Attacks past the alphabet: code that has the sandbox of a comparison to itself, as if the parser had run it."""

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deepmath.errors import Unavailable
from deepmath.executor.v1 import executor_pb2 as pb
from deepmath.grading import comparison_sandbox
from deepmath.grading.comparison_sandbox import ComparisonSandbox
from deepmath.grading.pair_judge import PairJudge
from deepmath.grading.verdict import Reason
from deepmath.grading.verifier import Verifier

from .conftest import TRUTHS, descendants
from .payloads import CONTEXTS, name_that_runs, write_file

# Reaper, zygote, and two sandboxes that wait for the next comparison; a launcher, where there are namespaces.
PROCESSES_AT_REST = {"full": 5, "pod": 4}
PRELUDE = """
sys = next(kind for kind in object.__subclasses__() if kind.__name__ == "_wrap_close").__init__.__globals__["sys"]
os, ctypes = sys.modules["os"], sys.modules["ctypes"]
libc = ctypes.CDLL(None, use_errno=True)
runner = sys.modules["deepmath.sandbox.inside.runner"]
load = sys.modules["importlib"].import_module
sleep = sys.modules["time"].sleep
"""
FILES = {
    "creates a file": "open('{canary}', 'w')",
    "creates a file below Python": "libc.open(b'{canary}', 0o102, 0o666)",
    "creates a folder": "os.mkdir('{canary}')",
    "links": "os.symlink('/etc/passwd', '{canary}')",
    "reads the password file": "open('/etc/passwd').read()",
    "reads its parent's environment": "open(f'/proc/{os.getppid()}/environ').read()",
    "reads its parent's memory": "open(f'/proc/{os.getppid()}/mem', 'rb').read(1)",
    "lists the root": "os.listdir('/')",
    "changes a library": "open(sys.modules['sympy'].__file__, 'a')",
    "removes a library": "os.remove(sys.modules['sympy'].__file__)",
    "makes a file in memory": "os.memfd_create('x')",
}
NETWORK = {
    "connects": "load('socket').create_connection(('127.0.0.1', {port}), 1)",
    "sends a datagram": "load('socket').socket(2, 2).sendto(b'x', ('127.0.0.1', {port}))",
    "connects below Python": "libc.connect(libc.socket(2, 1, 0), b'\\2\\0' + (0).to_bytes(14, 'big'), 16)",
    "opens a URL": "load('urllib.request').urlopen('http://127.0.0.1:{port}/')",
    "listens": "load('socket').create_server(('127.0.0.1', 0))",
}
PROCESSES = {
    "runs a command": "os.system('touch {canary}')",
    "executes a program": "os.execv('/bin/sh', ['sh', '-c', 'touch {canary}'])",
    "spawns": "load('subprocess').run(['touch', '{canary}'])",
    "forks": "os.fork()",
    "clones": "libc.syscall(56, 17, 0, 0, 0, 0)",
    "starts a thread": "load('_thread').start_new_thread(print, ())",
    "kills its parent": "os.kill(os.getppid(), 9)",
    "kills everybody": "os.kill(-1, 9)",
    "traces its parent": "libc.ptrace(16, os.getppid(), 0, 0)",
    "becomes root": "os.setuid(0)",
    "makes a namespace": "libc.unshare(0x10000000)",
}
FORGERIES = {
    "a word that is none": "'CORRECT'",
    "true": "True",
    "a verdict in JSON": "'[true, 0]'",
    "a word and more": "'SAME_VALUE '",
    "a word without quotation marks": "type('', (), {'__repr__': lambda self: 'SAME_VALUE'})()",
    "a word of another kind": "'SAME_TEXT'",
    "our failure": "'FAILED'",
    "a bad gold answer": "b'GOLD_TOO_COSTLY'",
    "a printed word": "print('SAME_VALUE')",
    "a word in a frame of its own": "os.write(3, b'SAME_VALUE')",
    "a frame after a frame": "runner._send(runner._READY)",
    "no frame": "os.close(3)",
    "half a frame": "os.write(3, b'\\0\\0')\nsleep(0.01)\nos._exit(0)",
    "an endless frame": "os.write(3, b'\\xff' * 4)\nwhile True: os.write(3, bytes(1 << 16))",
    "an outcome of ours": "runner.Runner.run = lambda *_: {'outcome': 'SANDBOX_FAILED'}",
    "an error": "raise SystemExit(0)",
    "an exit": "os._exit(0)",
    "an abort": "os.abort()",
    "an invalid address": "ctypes.string_at(0)",
    "a deep recursion in C": "sys.setrecursionlimit(10**9)\nf = lambda: f()\nf()",
    "an ignored alarm": "load('signal').signal(14, 1)",
}
COSTS = {
    "a loop": "while True: pass",
    "a loop that catches everything": "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
    "a loop in C": "9 ** 9 ** 9",
    "memory": "x = [bytes(1 << 20) for _ in range(10**6)]",
    "memory in one piece": "bytes(1 << 40)",
    "memory that is caught": "try: bytes(1 << 40)\nexcept MemoryError: pass\nwhile True: pass",
    "output": "while True: print('x' * 10**6)",
    "a long value": "'x' * 10**8",
}
POISONS = {
    "equality": "sys.modules['sympy'].Symbol.__eq__ = sys.modules['sympy'].Basic.__eq__ = lambda *_: True",
    "the comparison": "import deepmath.grading.symbolic_comparison as m\nm.compare = lambda *_: True",
    "the program": "import deepmath.grading.sandboxed_comparison as m\nm.reply = m.compare = lambda *_: 'SAME_VALUE'",
    "math-verify": "m = sys.modules['math_verify']\nm.verify = m.grader.verify = lambda *_, **__: True",
    "the frames": "sys.modules['deepmath.sandbox.frames'].encode = lambda _: b''",
    "the builtins": "load('builtins').repr = lambda _: \"'SAME_VALUE'\"",
    "memory that it shares": "[setattr(kind, '__bool__', lambda _: True) for kind in object.__subclasses__()[:0]]",
    "pages of the zygote": "ctypes.memset(id(sys.modules['sympy'].S.Zero) + 16, 1, 8)",
}
Check = Callable[[], None]


# Processes of other tests, such as an engine that they share.
OTHERS: set[int] = set()


def processes() -> list[int]:
    """Return the processes of the verifier. Those of others may have started further ones."""
    return descendants(OTHERS)


@pytest.fixture(scope="module", params=["full", "pod"])
def verifier(request: pytest.FixtureRequest) -> Iterator[Verifier]:
    """A verifier at each isolation level that this machine has."""
    OTHERS.clear()
    OTHERS.update(descendants())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparison_sandbox, "_LEVEL", request.param)
        with Verifier(2, 0.5) as verifier:
            try:
                verifier.start()
            except Unavailable as error:
                pytest.skip(f"level {request.param} is not available here: {error}")
            yield verifier


class Hijacked(ComparisonSandbox):
    """The sandbox of a verifier in which an answer has taken over. The gold answer alone is compared as always."""

    def __init__(self, original: ComparisonSandbox, code: str) -> None:
        self._original, self._code = original, code

    async def compare(self, *texts: str) -> pb.SnippetResult:
        return await (self._original.run(PRELUDE + self._code) if len(texts) > 1 else self._original.compare(*texts))


def hijack(verifier: Verifier, code: str) -> Reason:
    """Return the reason of the verdict on an answer that runs `code` instead of its comparison."""
    judge = PairJudge(Hijacked(verifier._sandbox, code), 1)
    return verifier._sandbox.submit(judge.judge(r"\sqrt{8}", "x")).result().reason


def run(verifier: Verifier, code: str) -> pb.SnippetResult:
    return verifier._sandbox.submit(verifier._sandbox.run(PRELUDE + code)).result()


@pytest.mark.parametrize("kind", [FILES, NETWORK, PROCESSES], ids=["files", "network", "processes"])
def test_code_in_a_sandbox_cannot_leave_it(
    verifier: Verifier, kind: dict[str, str], canary: Path, listener: socket.socket, untouched: Check
) -> None:
    for name, attack in kind.items():
        code = attack.replace("{canary}", str(canary)).replace("{port}", str(listener.getsockname()[1]))
        result = run(verifier, f"{code}\n'done'")
        refused = result.outcome in (pb.OUTCOME_EXCEPTION, pb.OUTCOME_POLICY_VIOLATION, pb.OUTCOME_CRASHED)
        below_python = "libc" in code or "os.system" in code  # the C library reports an error by its value
        assert refused or below_python, (name, result)
    untouched()
    at_rest = PROCESSES_AT_REST[comparison_sandbox._LEVEL]
    deadline = time.monotonic() + 30
    while len(processes()) > at_rest and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [Path(f"/proc/{pid}/stat").read_text() for pid in processes()[at_rest:]] == []


@pytest.mark.parametrize("kind", [FORGERIES, COSTS], ids=["forgeries", "costs"])
def test_answer_that_breaks_its_sandbox_is_incorrect(
    verifier: Verifier, kind: dict[str, str], untouched: Check
) -> None:
    reasons = {name: hijack(verifier, code) for name, code in kind.items()}
    assert {name: reason for name, reason in reasons.items() if reason.correct is not False} == {}
    untouched()


def test_answer_that_controls_its_sandbox_can_forge_no_other_verdict(verifier: Verifier, untouched: Check) -> None:
    for code in POISONS.values():
        hijack(verifier, code)
    pairs = [(gold, answer) for gold, answer, _ in TRUTHS] * 4
    assert [verdict.correct for verdict in verifier.verify(pairs)] == [correct for *_, correct in TRUTHS] * 4
    untouched()


@pytest.mark.parametrize("context", CONTEXTS)
def test_name_that_runs_code_is_not_run_even_if_it_reaches_the_parser(
    verifier: Verifier, context: str, canary: Path, untouched: Check
) -> None:
    text = CONTEXTS[context].replace("%s", rf"\text{{{name_that_runs(write_file(canary))}}}")
    compare = f"from deepmath.grading.symbolic_comparison import compare\ncompare({text!a}, r'\\sqrt{{3}}')"
    result = verifier._sandbox.submit(verifier._sandbox.run(compare)).result()
    assert result.value != "True"
    assert "Errno" not in result.stderr + result.exception.message  # the sandbox had nothing to refuse
    untouched()


@pytest.mark.parametrize(
    "code",
    [
        "sympy.lambdify(sympy.Symbol('x'), sympy.Symbol(\"print('ran')\"))(1)",
        "sympy.Sum(sympy.Symbol(\"[print('ran'),1][1]\")**n/sympy.factorial(n), (n, 0, sympy.oo)).evalf()",
        "sympy.sympify(\"print('ran')\")",
        "sympy.parse_expr(\"print('ran')\")",
        "sympy.Number(\"print('ran')\")",
        "sympy.nsolve(sympy.Symbol(\"print('ran')\") - 1, 1)",
        "sympy.Poly(\"print('ran')\")",
        "sympy.Matrix([\"print('ran')\"])",
    ],
)
def test_sympy_runs_no_text(verifier: Verifier, code: str) -> None:
    result = run(verifier, f"sympy = sys.modules['sympy']\nn = sympy.Symbol('n')\n{code}")
    assert "ran" not in result.stdout, result


def test_nothing_is_compiled_during_a_comparison(verifier: Verifier) -> None:
    code = 'from deepmath.grading import sandboxed_comparison as program\nprogram.reply(\'["x", "y"]\')\n'
    for attempt in ("eval('1')", "exec('1')", "compile('1', '', 'eval')"):
        assert run(verifier, f"{code}{attempt}").exception.type == "PermissionError", attempt
