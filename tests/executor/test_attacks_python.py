"""Attacks on the sandbox's own interpreter: patching, corrupting or ending it harms no other session."""

import pytest
from support.attacks import CRASHED, EXCEPTION, MEMORY, OK, PRELUDE, WALL

# name: (code, outcome, outcome of the session's next snippet "1 + 1")
SABOTAGE = {
    "stdout_is_none": ("sys.stdout = None", OK, OK),
    "stderr_is_none": ("sys.stderr = None", OK, OK),
    "stdout_raises": ("class S:\n    def write(self, text): raise KeyboardInterrupt\nsys.stdout = S()", OK, OK),
    "stdout_hangs_at_flush": ("class S:\n    def flush(self):\n        while True: pass\nsys.stdout = S()", OK, OK),
    "stdout_is_closed": ("sys.stdout.close()", OK, OK),
    "stdout_is_detached": ("sys.stdout.detach()", OK, OK),
    "stdout_descriptor_is_closed": ("os.close(1)\nos.close(2)", OK, CRASHED),
    "stdout_descriptor_is_another_file": ("os.close(1)\nos.open(os.__file__, 0)", OK, OK),
    "error_handler_of_texts_raises": (
        "sys.modules['codecs'].register_error('backslashreplace', lambda e: 1 / 0)\nprint('\\ud800')",
        OK,
        OK,
    ),
    "builtins_are_emptied": (
        "b = sys.modules['builtins']\nb.print = b.len = b.repr = b.isinstance = b.str = None",
        CRASHED,
        OK,
    ),
    "builtins_lose_everything": ("vars(sys.modules['builtins']).clear()", CRASHED, OK),
    "builtins_of_the_snippet_are_emptied": ("__builtins__.clear()", OK, OK),
    "builtins_are_replaced_by_a_hostile_mapping": (
        "class D(dict):\n    def __missing__(self, k): raise SystemExit\n__builtins__ = D()",
        OK,
        OK,
    ),
    "import_is_replaced": ("sys.modules['builtins'].__import__ = None", OK, OK),
    "class_builder_is_replaced": ("sys.modules['builtins'].__build_class__ = lambda *a: 1 / 0", OK, OK),
    "base_exception_is_replaced": (
        "b = sys.modules['builtins']\nb.BaseException = b.Exception = b.MemoryError = int\n1 / 0",
        CRASHED,
        OK,
    ),
    "modules_are_emptied": ("sys.modules.clear()", OK, OK),
    "module_of_random_is_missing": ("sys.modules['random'] = None\nsys.modules['traceback'] = None", OK, OK),
    "json_is_patched": ("sys.modules['json'].dumps = lambda *_: 1 / 0", OK, OK),
    "json_lies": (
        'sys.modules[\'json\'].dumps = lambda m, **k: \'{"sequence": 1, "outcome": "SANDBOX_FAILED"}\'',
        OK,
        OK,
    ),
    "os_is_patched": ("os.write = os.read = os._exit = None", OK, OK),
    "parser_is_patched": ("sys.modules['ast'].parse = lambda *_: 1 / 0", OK, EXCEPTION),
    "lengths_lie": ("load('deepmath.sandbox.frames')._LENGTH = sys.modules['struct'].Struct('<I')", CRASHED, OK),
    "runner_sends_nothing": ("load('deepmath.sandbox.inside.runner')._send = lambda frame: None", WALL, OK),
    "runner_runs_nothing": (
        "load('deepmath.sandbox.inside.runner').Runner.run = lambda *a: {'outcome': 'OK', 'value': '2', 'dropped': 0}",
        OK,
        OK,
    ),
    "runner_reads_nothing": ("load('deepmath.sandbox.inside.runner')._os_read = lambda *a: b''", OK, CRASHED),
    "runner_reads_for_ever": (
        "load('deepmath.sandbox.inside.runner')._os_read = lambda *a: any(iter(int, 1))",
        OK,
        WALL,
    ),
    "runner_says_it_is_ready": ("r = load('deepmath.sandbox.inside.runner')\nr._send(r._READY)", CRASHED, OK),
    "description_of_errors_raises": (
        "load('deepmath.sandbox.inside.runner').describe = lambda *a: 1 / 0\n1 / 0",
        CRASHED,
        OK,
    ),
    "variables_of_the_runner_are_cleared": ("f = sys._getframe(1)\nf.f_globals.clear()", CRASHED, OK),
    "line_cache_is_hostile": ("l = sys.modules['linecache']\nl.cache = None\n1 / 0", EXCEPTION, CRASHED),
    "line_cache_lies": ("l = sys.modules['linecache']\nl.getline = lambda *a: 5\n1 / 0", EXCEPTION, OK),
    "traceback_is_patched": ("sys.modules['traceback'].format_exception = lambda *a: [5]\n1 / 0", EXCEPTION, OK),
    "trace_function_raises": ("sys.settrace(lambda *_: 1 / 0)", EXCEPTION, OK),
    "profile_function_raises": ("sys.setprofile(lambda *_: 1 / 0)", EXCEPTION, OK),
    "profile_function_exits": ("sys.setprofile(lambda *_: os._exit(0))", CRASHED, OK),
    "audit_hook_raises": ("def h(*a): raise RuntimeError\nsys.addaudithook(h)", OK, CRASHED),
    "audit_hook_hangs": ("def h(*a):\n    while True: pass\nsys.addaudithook(h)", OK, WALL),
    "recursion_limit_is_low": ("sys.setrecursionlimit(50)", OK, OK),
    "recursion_limit_is_high": ("sys.setrecursionlimit(10**9)", OK, OK),
    "switch_interval_is_long": ("sys.setswitchinterval(10**6)", OK, OK),
    "digits_of_integers_are_limited": ("sys.set_int_max_str_digits(640)", OK, OK),
    "collector_is_off": (
        "g = load('gc')\ng.disable()\ng.set_threshold(1, 1, 1)\ng.callbacks.append(lambda *a: 1 / 0)",
        OK,
        OK,
    ),
    "collector_calls_back_and_hangs": (
        "g = load('gc')\ng.callbacks.append(lambda *a: any(iter(int, 1)))",
        OK,
        OK,
    ),
    "variables_are_cleared": ("globals().clear()", OK, OK),
    "name_of_the_module_is_gone": ("del __name__\nsys.modules.pop('__main__')", OK, OK),
    "exit_handlers": ("sys.modules['atexit'].register(lambda: print(1 / 0))", OK, OK),
    "exit_handlers_hang": (
        "sys.modules['atexit'].register(lambda: any(iter(int, 1)))\nsys.exit(0)",
        OK,
        OK,
    ),
    "exception_hook_hangs": ("sys.excepthook = lambda *a: any(iter(int, 1))\n1 / 0", EXCEPTION, OK),
    "display_hook_hangs": ("sys.displayhook = lambda *a: any(iter(int, 1))\n5", OK, OK),
    "path_of_modules_is_emptied": ("sys.path.clear()\nsys.meta_path.clear()\nsys.path_hooks.clear()", OK, OK),
    "finder_of_modules_hangs": (
        "sys.meta_path.insert(0, type('F', (), {'find_spec': lambda *a: any(iter(int, 1))}))",
        OK,
        OK,
    ),
    "filter_of_warnings_raises": (
        "sys.modules['warnings'].showwarning = lambda *a: 1 / 0\nsys.modules['warnings'].warn('x')",
        EXCEPTION,
        OK,
    ),
    "hostile_exception": (
        "class E(BaseException):\n    def __str__(self): raise SystemExit\n    __repr__ = __str__\nraise E",
        EXCEPTION,
        OK,
    ),
    "hostile_metaclass": (
        "class M(type):\n"
        "    def __getattribute__(c, n): raise SystemExit\n"
        "class E(Exception, metaclass=M): pass\n"
        "raise E",
        EXCEPTION,
        OK,
    ),
    "hostile_metaclass_of_a_check": (
        "class M(type):\n"
        "    def __instancecheck__(c, o): raise SystemExit(1)\n"
        "    def __subclasscheck__(c, o): raise SystemExit(1)\n"
        "class E(Exception, metaclass=M): pass\n"
        "raise E",
        EXCEPTION,
        OK,
    ),
    "name_of_a_class_is_hostile": (
        "class N(str):\n"
        "    def __str__(self): raise SystemExit\n"
        "    def __format__(self, s): raise SystemExit\n"
        "class E(Exception): pass\n"
        "E.__qualname__ = N('x' * 10**6)\n"
        "E.__module__ = N('y' * 10**6)\n"
        "raise E",
        EXCEPTION,
        OK,
    ),
    "traceback_of_an_exception_is_hostile": (
        "class E(Exception):\n"
        "    @property\n"
        "    def __traceback__(self): raise SystemExit\n"
        "    __cause__ = __context__ = __traceback__\n"
        "raise E",
        EXCEPTION,
        OK,
    ),
    "notes_of_an_exception_are_hostile": (
        "class N:\n"
        "    def __iter__(self): raise SystemExit\n"
        "    def __str__(self): raise SystemExit\n"
        "e = ValueError('x')\n"
        "e.__notes__ = N()\n"
        "raise e",
        EXCEPTION,
        OK,
    ),
    "syntax_error_is_hostile": (
        "e = SyntaxError('x', ('f', -5, 10**9, 'y' * 10**6, -1, -1))\ne.lineno = 'a'\nraise e",
        EXCEPTION,
        OK,
    ),
    "attribute_error_is_hostile": (
        "class A:\n"
        "    def __dir__(self): raise SystemExit\n"
        "e = AttributeError('x', name='n' * 10**5, obj=A())\n"
        "raise e",
        EXCEPTION,
        OK,
    ),
    "repr_raises": ("class A:\n    def __repr__(self): raise BaseException('x')\nA()", EXCEPTION, OK),
    "repr_of_the_wrong_type": ("class A:\n    def __repr__(self): return 5\nA()", EXCEPTION, OK),
    "repr_of_a_hostile_text": (
        "class S(str):\n"
        "    def encode(self, *a): raise SystemExit\n"
        "    def __len__(self): return -5\n"
        "class A:\n"
        "    def __repr__(self): return S('x')\n"
        "A()",
        OK,
        OK,
    ),
    "repr_ends_the_interpreter": ("class A:\n    def __repr__(self): os._exit(0)\nA()", CRASHED, OK),
    "huge_exception": ("raise ValueError('x' * 10**7)", EXCEPTION, OK),
    "exception_of_surrogates": ("raise ValueError('\\ud800' * 1000)", EXCEPTION, OK),
    "exception_of_zero_bytes": ("raise ValueError('\\0' * 1000)", EXCEPTION, OK),
    "endless_chain": ("e = ValueError()\ne.__cause__ = e\nraise e", EXCEPTION, OK),
    "wide_group": ("raise ExceptionGroup('x', [ValueError('y' * 1000) for _ in range(10**4)])", EXCEPTION, OK),
    "deep_group": ("e = ValueError()\nfor _ in range(10**4): e = ExceptionGroup('x', [e])\nraise e", EXCEPTION, OK),
    "hostile_del": ("class A:\n    def __del__(self): raise SystemExit\na = A()\na = None", OK, OK),
    "del_at_the_next_snippet": (
        "class A:\n    def __del__(self): raise SystemExit\n__builtins__['hidden'] = A()",
        OK,
        OK,
    ),
    "del_that_hangs_at_the_next_snippet": (
        "class A:\n    def __del__(self):\n        while True: pass\n__builtins__['hidden'] = A()",
        OK,
        OK,
    ),
    "generator_that_never_closes": (
        "def g():\n    while True:\n        try: yield\n        except BaseException: pass\nx = g()\nnext(x)\ndel x",
        OK,
        OK,
    ),
    "coroutine_that_is_never_awaited": ("async def f(): pass\nf()", OK, OK),
    "bytecode_is_patched": (
        "r = load('deepmath.sandbox.inside.runner')\n"
        "r.serve.__code__ = (lambda *a: None).__code__\n"
        "r._receive.__code__ = (lambda: 1 / 0).__code__",
        OK,
        CRASHED,
    ),
    "reserve_of_memory_is_taken": (
        "r = load('deepmath.sandbox.inside.runner')\n"
        "r._RESERVE_BYTES = 1 << 60\n"
        "r._reserve_memory = lambda: None\n"
        "x = bytes(1 << 40)",
        MEMORY,
        OK,
    ),
    "classes_are_walked_to_a_loader": (
        "c = [c for c in object.__subclasses__() if c.__name__ == 'BuiltinImporter'][0]\nc.load_module('posix').fork()",
        EXCEPTION,
        OK,
    ),
    "alarm_is_raised_by_the_snippet": ("ctypes.pythonapi.PyErr_SetInterruptEx(14)\n1", CRASHED, OK),
}
DEATHS = {
    "exits": "os._exit(0)",
    "exits_with_status_of_a_kill": "os._exit(137)",
    "exits_by_libc": "libc.exit(0)",
    "exits_by_call": "call(231, 0)",
    "exits_thread": "call(60, 0)",
    "aborts": "os.abort()",
    "reads_address_0": "ctypes.string_at(0)",
    "writes_address_0": "ctypes.memset(0, 0, 1)",
    "writes_into_code": "ctypes.memset(ctypes.cast(libc.getpid, ctypes.c_void_p).value, 0, 16)\nlibc.getpid()",
    "calls_address_0": "ctypes.CFUNCTYPE(None)(0)()",
    "overflows_the_stack": "load('deepmath.sandbox.inside.recursion_limit')._set(10**9)\n"
    "def f(n): return sorted([n, n], key=f)\nf(0)",
    "breaks_an_object": "ctypes.memset(id(x := [1]), 0, 16)\nprint(x)",
    "breaks_none": "ctypes.memset(id(None), 255, 16)\nprint(None)",
    "breaks_the_heap": "libc.free(ctypes.c_void_p(id([]) + 8))\nlibc.free(ctypes.c_void_p(1 << 12))",
    "frees_twice": "libc.malloc.restype = ctypes.c_void_p\n"
    "p = libc.malloc(100)\n"
    "libc.free(ctypes.c_void_p(p))\n"
    "libc.free(ctypes.c_void_p(p))",
    "bad_bytecode": "def f(): pass\nf.__code__ = f.__code__.replace(co_code=bytes([100, 255] * 50), co_consts=())\nf()",
    "illegal_instruction": "libc.mmap(0, 0, 0, 0, 0, 0)\nctypes.CFUNCTYPE(None)(id(b'\\x0f\\x0b') + 32)()",
    "drops_its_pages": "libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]\n"
    "a = id(1) & ~((1 << 20) - 1)\n"
    "libc.madvise(a, 1 << 20, 4)\n"
    "print([1])",
    "returns_to_nowhere": "libc.longjmp(ctypes.create_string_buffer(400), 1)",
    "sigreturn": "libc.syscall(15)",
    "ends_by_a_fatal_error": "ctypes.pythonapi.Py_FatalError(b'attack')",
}
POISONS = {
    "constant_of_a_library": ("import math\nmath.pi = 3", "import math\nmath.pi > 3.14"),
    "function_of_a_library": (
        "import sympy\nsympy.factorint = None",
        "import sympy\nsympy.factorint(6) == {2: 1, 3: 1}",
    ),
    "cache_of_a_library": (
        "import sympy\nx = sympy.Symbol('x')\nsympy.core.cache.clear_cache()\nsympy.Symbol.__new__ = None",
        "import sympy\nsympy.Symbol('x').name == 'x'",
    ),
    "array_of_a_library": (
        "import scipy.constants\nscipy.constants.c = 1",
        "import scipy.constants\nscipy.constants.c == 299792458.0",
    ),
    "builtin": ("sys.modules['builtins'].sum = lambda *_: 4", "sum([1, 1]) == 2"),
    "method_of_a_class": (
        "from fractions import Fraction\nFraction.__add__ = lambda *_: 0",
        "from fractions import Fraction\nFraction(1, 2) + Fraction(1, 2) == 1",
    ),
    "state_of_a_generator": ("import random\nrandom.random = lambda: 2", "import random\nrandom.random() < 1"),
    "module": ("sys.modules['math'] = None", "import math\nmath.sqrt(4) == 2"),
    "precision": ("import mpmath\nmpmath.mp.dps = 2", "import mpmath\nmpmath.mp.dps == 15"),
    "decimal_context": (
        "import decimal\ndecimal.getcontext().prec = 1",
        "import decimal\ndecimal.getcontext().prec == 28",
    ),
    "error_state": ("import numpy\nnumpy.seterr(all='raise')", "import numpy\nnumpy.geterr()['over'] == 'warn'"),
    "environment": ("os.environ['PYTHONHASHSEED'] = '1'", "import random\nrandom._os.environ['PYTHONHASHSEED'] == '0'"),
    "recursion_limit": ("sys.setrecursionlimit(50)", "import random\nrandom._os.sys.getrecursionlimit() > 900"),
    "variables": ("secret = 1\nimport __main__", "'secret' not in globals()"),
}


@pytest.mark.parametrize("name", SABOTAGE)
async def test_sabotaged_interpreter_works_or_is_replaced(executor, bystander, name):
    code, outcome, next_outcome = SABOTAGE[name]
    async with executor.session() as session:
        result = await session.run(PRELUDE + code, wall_ms=600)
        assert result.outcome == outcome, result
        assert len(result.exception.message) <= 16 << 10
        after = await session.run("1 + 1", wall_ms=600)
        assert after.outcome == next_outcome, after
        assert (after.value == "2") == (next_outcome == OK)
    await bystander.is_unharmed()


@pytest.mark.parametrize("name", DEATHS)
async def test_dead_interpreter_is_a_crash_and_harms_no_other(attacker, name):
    result = await attacker.run("print('last words')\n" + DEATHS[name])
    assert (result.outcome, result.state_lost) == (CRASHED, True), result
    assert result.stdout == "last words\n"


@pytest.mark.parametrize("name", POISONS)
async def test_poisoned_library_does_not_reach_later_sessions(executor, bystander, name):
    poison, check = POISONS[name]
    await executor.execute(PRELUDE + poison)
    assert (await executor.execute(check)).value == "True"
    await bystander.is_unharmed()


async def test_recursion_limit_is_reset_between_snippets(executor):
    async with executor.session() as session:
        await session.run(PRELUDE + "sys.setrecursionlimit(60)")
        assert (await session.run("def f(n): return n and f(n - 1)\nf(500)")).value == "0"


async def test_replaced_builtins_are_restored_for_the_next_snippet(executor):
    async with executor.session() as session:
        await session.run("print = len = None\n__builtins__['sum'] = None\ndel print, len")
        assert (await session.run("sum([len('ab')])")).value == "2"


async def test_replaced_stdout_is_restored_for_the_next_snippet(executor):
    async with executor.session() as session:
        await session.run(PRELUDE + "sys.stdout = sys.stderr = None")
        assert (await session.run("print('here')")).stdout == "here\n"
