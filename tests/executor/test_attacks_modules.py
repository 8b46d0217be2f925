"""Attacks with the modules that a snippet may import: their dangerous corners, a walk to others, hostile arguments."""

import pytest
from support.attacks import CPU, CRASHED, EXCEPTION, MEMORY, OK, VIOLATION, WALL

from deepmath.executor.v1 import executor_pb2 as pb
from deepmath.sandbox.allowed_modules import STANDARD_MODULES

# name: (code, outcomes it may have). The import statement is the snippet's own: nothing here bypasses the list.
CORNERS: dict[str, tuple[str, tuple[pb.Outcome.ValueType, ...]]] = {
    "sys_reaches_os": ("import sys\nsys.modules['os'].fork()", (EXCEPTION,)),
    "sys_reaches_a_socket": ("import sys\nsys.modules['socket'].socket(2, 1)", (VIOLATION,)),
    "sys_reaches_the_loader": ("import sys\nsys.modules['importlib'].import_module('os').listdir('/')", (EXCEPTION,)),
    "sys_climbs_the_frames": (
        "import sys\nf = sys._getframe()\nwhile f: f.f_globals.get('os') and f.f_globals['os'].fork()\n",
        (WALL, EXCEPTION, OK, CRASHED),
    ),
    "sys_traces": ("import sys\nsys.settrace(lambda *a: 1 / 0)\nprint(1)", (OK, CRASHED, EXCEPTION)),
    "sys_audits": ("import sys\nsys.addaudithook(lambda *a: 1 / 0)\nopen('x')", (EXCEPTION, OK)),
    "sys_intern": ("import sys\nfor n in range(10**9): sys.intern(str(n) * 100)", (MEMORY, WALL)),
    "sys_prints_long_numbers": ("import sys\nsys.set_int_max_str_digits(0)\nstr(10 ** 10**8)", (WALL, CPU)),
    "sys_unraisable_hook": (
        "import sys\nsys.unraisablehook = lambda *a: any(iter(int, 1))\nclass A:\n    def __del__(self): 1 / 0\nA()\n1",
        (WALL, OK),
    ),
    "builtins_opens": ("import builtins\nbuiltins.open('/etc/passwd')", (EXCEPTION,)),
    "builtins_imports": ("import builtins\nbuiltins.__import__('os').fork()", (EXCEPTION,)),
    "io_opens": ("import io\nio.open('deepmath-attack', 'w')", (EXCEPTION,)),
    "io_takes_the_control_socket": ("import io\nio.FileIO(3, 'w').write(b'x' * 100)", (CRASHED,)),
    "time_sleeps": ("import time\ntime.sleep(10**6)", (WALL,)),
    "time_sets_the_clock": ("import time\ntime.clock_settime(time.CLOCK_REALTIME, 0)", (VIOLATION,)),
    "time_reads_another_clock": ("import time\ntime.pthread_getcpuclockid(10**9)", (EXCEPTION, CRASHED, OK)),
    "queue_waits_for_ever": ("import queue\nqueue.Queue().get()", (WALL,)),
    "queue_joins_nobody": ("import queue\nq = queue.Queue()\nq.put(1)\nq.join()", (WALL,)),
    "queue_fills_up": ("import queue\nq = queue.Queue(1)\nq.put(1)\nq.put(2)", (WALL,)),
    "sched_waits": ("import sched\ns = sched.scheduler()\ns.enter(10**6, 1, print)\ns.run()", (WALL,)),
    "json_is_deep": ("import json\njson.loads('[' * 10**6)", (EXCEPTION,)),
    "json_writes_deep": ("import json\nx = []\nfor _ in range(10**5): x = [x]\njson.dumps(x)", (EXCEPTION,)),
    "json_writes_itself": ("import json\nx = []\nx.append(x)\njson.dumps(x, check_circular=False)", (EXCEPTION,)),
    "json_reads_a_long_number": ("import json\njson.loads('9' * 10**7)", (WALL, CPU, OK)),
    "copy_of_a_hostile_object": (
        "import copy\nclass A:\n    def __deepcopy__(self, memo): return copy.deepcopy(A())\ncopy.deepcopy(A())",
        (EXCEPTION,),
    ),
    "copy_of_an_endless_object": (
        "import copy\nclass A:\n    def __reduce_ex__(self, v): return list, (), None, iter(int, 1)\ncopy.copy(A())",
        (MEMORY, WALL),
    ),
    "pickle_runs_code": (
        "import pickle\nclass A:\n    def __reduce__(self): return eval, ('__import__(\"os\").fork()',)\n"
        "pickle.loads(pickle.dumps(A()))",
        (EXCEPTION, VIOLATION),
    ),
    "pickle_takes_memory": (
        "import pickle\npickle.loads(b'\\x8e' + (1 << 40).to_bytes(8, 'little'))",
        (EXCEPTION, MEMORY),
    ),
    "marshal_breaks": (
        "import marshal\nexec(marshal.loads(marshal.dumps(compile('1', '', 'exec'))[:-3] + b'xyz'))",
        (EXCEPTION, CRASHED, OK),
    ),
    "gc_finds_the_runner": (
        "import gc\n[o.close() for o in gc.get_objects() if type(o).__name__ == 'mmap']\n1",
        (OK, CRASHED, EXCEPTION),
    ),
    "gc_counts_references": ("import gc\nlen(gc.get_referrers(None)) > 0", (OK,)),
    "inspect_reads_a_source": ("import inspect, sys\ninspect.getsource(sys._getframe(1))", (EXCEPTION,)),
    "inspect_climbs": ("import inspect\n[f.frame.clear() for f in inspect.stack()]", (EXCEPTION, OK)),
    "types_builds_code": (
        "import types\nc = compile('1', '', 'exec')\n"
        "types.FunctionType(c.replace(co_code=b'd\\xff' * 9, co_consts=()), {})()",
        (CRASHED, EXCEPTION, OK),
    ),
    "weakref_calls_back": (
        "import weakref\nclass A: pass\na = A()\nweakref.finalize(a, lambda: 1 / 0)\ndel a\n1",
        (OK,),
    ),
    "tracemalloc_traces": (
        "import tracemalloc\ntracemalloc.start(100)\nx = [[] for _ in range(10**6)]\n1",
        (OK, MEMORY, WALL),
    ),
    "zlib_bomb": (
        "import zlib\nzlib.decompress(zlib.compress(bytes(1 << 28)) * 1, bufsize=1 << 40)",
        (MEMORY, EXCEPTION, WALL),
    ),
    "bz2_bomb": ("import bz2\nx = bz2.compress(bytes(10**6))\nbz2.decompress(x * 10**4)", (MEMORY, WALL)),
    "lzma_bomb": ("import lzma\nx = lzma.compress(bytes(10**6))\nlzma.decompress(x * 10**4)", (MEMORY, WALL)),
    "gzip_writes": ("import gzip\ngzip.open('/tmp/deepmath-attack', 'w')", (EXCEPTION,)),
    "xml_bomb": (
        "import xml.dom.minidom as m\n"
        "d = '<!DOCTYPE a [<!ENTITY e0 \"x\">'\n"
        'for n in range(1, 12): d += f\'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">\'\n'
        "m.parseString(d + ']><a>&e11;</a>')",
        (EXCEPTION, MEMORY, WALL),
    ),
    "xml_reads_a_file": (
        "import xml.sax\nxml.sax.parse('/etc/passwd', xml.sax.ContentHandler())",
        (EXCEPTION,),
    ),
    "plist_is_deep": ("import plistlib\nplistlib.loads(b'<plist>' + b'<array>' * 10**5)", (EXCEPTION,)),
    "toml_is_deep": ("import tomllib\ntomllib.loads('x = ' + '[' * 10**5)", (EXCEPTION,)),
    "csv_field_is_long": ("import csv\ncsv.field_size_limit(10**9)\nlist(csv.reader(['x' * 10**8]))\n1", (OK, MEMORY)),
    "email_is_long": ("import email\nemail.message_from_string('a: b\\n' * 10**6)\n1", (OK, WALL, MEMORY)),
    "re_backtracks": ("import re\nre.match('(a*)*b', 'a' * 64)", (WALL,)),
    "difflib_is_slow": (
        "import difflib\ndifflib.SequenceMatcher(None, 'ab' * 10**4, 'ba' * 10**4).ratio()",
        (WALL, OK),
    ),
    "ast_is_deep": ("import ast\nast.literal_eval('-' * 10**5 + '1')", (EXCEPTION, MEMORY)),
    "ast_builds_a_tree": (
        "import ast\nt = ast.Constant(1)\nfor _ in range(10**5): t = ast.UnaryOp(ast.USub(), t)\n"
        "compile(ast.fix_missing_locations(ast.Expression(t)), '', 'eval')",
        (EXCEPTION, CRASHED),
    ),
    "logging_to_a_file": ("import logging\nlogging.FileHandler('/tmp/deepmath-attack')", (EXCEPTION,)),
    "logging_to_a_host": (
        "import logging.handlers\nlogging.handlers.SocketHandler('127.0.0.1', 9).createSocket()",
        (VIOLATION, OK, EXCEPTION),
    ),
    "unittest_runs": ("import unittest\nunittest.main()", (OK, EXCEPTION)),
    "doctest_runs": ("import doctest\ndoctest.testmod()", (OK,)),
    "profile_runs": ("import cProfile\ncProfile.run('sum(range(10))', '/tmp/deepmath-attack')", (EXCEPTION,)),
    "argparse_exits": ("import argparse\nargparse.ArgumentParser().parse_args(['--x'])", (EXCEPTION,)),
    "argparse_reads_a_file": (
        "import argparse\nargparse.ArgumentParser(fromfile_prefix_chars='@').parse_args(['@/etc/passwd'])",
        (EXCEPTION,),
    ),
    "contextlib_changes_the_folder": ("import contextlib\ncontextlib.chdir('/').__enter__()", (EXCEPTION,)),
    "uuid_asks_the_network": ("import uuid\nuuid.uuid1().version", (OK,)),
    "hashlib_is_slow": ("import hashlib\nhashlib.pbkdf2_hmac('sha256', b'x', b'x', 10**9)", (WALL, CPU)),
    "hashlib_takes_memory": (
        "import hashlib\nhashlib.scrypt(b'x', salt=b'x', n=1 << 20, r=8, p=1, maxmem=2**31 - 1)",
        (MEMORY, EXCEPTION),
    ),
    "struct_takes_memory": ("import struct\nstruct.pack(f'{1 << 40}x')", (MEMORY,)),
    "array_takes_memory": ("import array\narray.array('d', [0]) * (1 << 40)", (MEMORY,)),
    "calendar_is_long": ("import calendar\ncalendar.calendar(10**9)", (OK, EXCEPTION)),
    "statistics_is_hostile": (
        "import statistics\nclass A(float):\n    def __lt__(self, o): return self < o\nstatistics.median([A(), A()])",
        (EXCEPTION,),
    ),
    "heapq_is_hostile": (
        "import heapq\nh = []\nclass A:\n    def __lt__(self, o):\n        h.clear()\n        return True\n"
        "h += [A() for _ in range(9)]\nheapq.heapify(h)",
        (EXCEPTION, OK),
    ),
    "bisect_is_hostile": (
        "import bisect\nclass L:\n    def __len__(self): return 1 << 62\n    def __getitem__(self, n): return n\n"
        "bisect.bisect(L(), 5)",
        (OK, EXCEPTION),
    ),
    "decimal_is_long": ("import decimal as d\nd.getcontext().prec = d.MAX_PREC\nd.Decimal(1) / 3", (MEMORY, EXCEPTION)),
    "ipaddress_counts": ("import ipaddress\nlist(ipaddress.ip_network('::/0'))", (MEMORY, WALL)),
    "enum_is_large": ("import enum\nenum.Flag('A', ' '.join(f'x{n}' for n in range(5000)))\n1", (OK, WALL)),
    "dataclass_is_hostile": (
        "import dataclasses\ndataclasses.make_dataclass('A', [('x', 'int', dataclasses.field(default=1))] * 2)",
        (EXCEPTION,),
    ),
    "typing_evaluates": (
        "import typing\nclass A:\n    x: '__import__(\"os\").fork()'\ntyping.get_type_hints(A)",
        (EXCEPTION, VIOLATION),
    ),
    "networkx_is_slow": (
        "import networkx as n\nlist(n.simple_cycles(n.complete_graph(30, n.DiGraph)))",
        (WALL, MEMORY),
    ),
    "networkx_reads_a_file": ("import networkx\nnetworkx.read_gml('/etc/passwd')", (EXCEPTION,)),
    "networkx_reads_a_url": ("import networkx\nnetworkx.read_edgelist('http://127.0.0.1:9/')", (EXCEPTION,)),
    "networkx_draws": ("import networkx as n\nn.drawing.nx_agraph.to_agraph(n.path_graph(3))", (EXCEPTION,)),
}
WALK = """
import importlib
def reach(module):
    seen, waiting = {}, [module]
    while waiting and len(seen) < 400:
        current = waiting.pop()
        if id(current) in seen:
            continue
        seen[id(current)] = current
        for value in list(vars(current).values()):
            if type(value) is type(importlib):
                waiting.append(value)
    return {m.__name__: m for m in seen.values()}
def attempt(action, *arguments):
    try:
        return action(*arguments) not in (32512, False)
    except (OSError, RuntimeError):
        return False
def attack(found):
    if "os" in found or "posix" in found:
        os = found.get("os") or found["posix"]
        yield "fork", attempt(os.fork)
        yield "run", attempt(os.system, "true")
        yield "list", attempt(os.listdir, "/")
        yield "read", attempt(os.open, "/etc/passwd", 0)
        yield "write", attempt(os.open, "/tmp/deepmath-attack", os.O_WRONLY | os.O_CREAT)
        yield "exec", attempt(os.posix_spawn, "/bin/true", ["true"], {})
    if "_thread" in found:
        yield "thread", attempt(found["_thread"].start_new_thread, print, ())
    if "subprocess" in found:
        yield "subprocess", attempt(found["subprocess"].Popen, ["true"])
    if "io" in found:
        yield "open", attempt(found["io"].open, "/etc/passwd")
    if "mmap" in found:
        yield "code", attempt(lambda: found["mmap"].mmap(-1, 4096, prot=7))
"""
# Calls every function of a module with arguments that no caller would pass.
FUZZ = """
import time
end = time.perf_counter() + 0.05
class Hostile:
    def __getattr__(self, name):
        if name == "__len__": return lambda: 1 << 62
        raise ValueError(name)
    def __index__(self): return -(1 << 63)
    def __iter__(self): return iter(int, 1)
    def __eq__(self, other): raise ValueError
    __hash__ = None
deep = []
for _ in range(10**4): deep = [deep]
values = (Hostile(), deep, 1 << 70, -1, "x" * 10**5, b"\\0" * 10**5, float("nan"), None, type, iter(int, 1))
calls = 0
for name, function in list(vars({module}).items()):
    if not callable(function) or name in ("breakpoint", "help"):
        continue
    for arguments in ((), *((v,) for v in values), *((v, w) for v in values for w in values)):
        if time.perf_counter() > end:
            break
        calls += 1
        try:
            function(*arguments)
        except BaseException:
            pass
calls
"""


@pytest.mark.parametrize("name", CORNERS)
async def test_dangerous_corner_of_an_allowed_module_is_contained(attacker, name):
    code, outcomes = CORNERS[name]
    wall_ms = 400 if WALL in outcomes else 5000
    result = await attacker.run(code, prelude="", wall_ms=wall_ms, memory_bytes=256 << 20)
    assert result.outcome in outcomes, result


async def test_modules_within_reach_of_allowed_modules_are_contained(attacker):
    names = [name for name in STANDARD_MODULES if name != "this"]
    attacks = "\n".join(f"import {n}\nfound = reach({n})\nprint({n!r}, len(found), dict(attack(found)))" for n in names)
    walk = WALK.replace("import importlib\n", "importlib = random\n")
    result = await attacker.run("import random\n" + walk + attacks, prelude="")
    assert result.outcome == OK, result
    assert result.stdout.count("'fork': False") > 5
    assert "True" not in result.stdout, result.stdout


@pytest.mark.parametrize("module", STANDARD_MODULES)
async def test_allowed_module_with_hostile_arguments_harms_nobody(small_executor, module):
    code = f"import {module}\n" + FUZZ.replace("{module}", module)
    result = await small_executor.execute(code, wall_ms=300, memory_bytes=128 << 20)
    assert result.outcome not in (pb.OUTCOME_SANDBOX_FAILED, pb.OUTCOME_UNSPECIFIED), result
    assert (await small_executor.execute("6 * 7")).value == "42"
