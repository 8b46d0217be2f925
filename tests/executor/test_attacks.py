"""Snippets that attack. After each, the outcome is one of the expected ones, nothing got out, and others go on."""

import socket
import sys
import threading
from pathlib import Path

import pytest

from deepmath.executor.v1 import executor_pb2 as pb

from .conftest import SECRET

# Everything below goes past the import allow-list, as an attacker would: `random` holds a reference to `os`.
PRELUDE = """
import random
os = random._os
sys = os.sys
ctypes = sys.modules["ctypes"]
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    result = libc.syscall(number, *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
"""
EXCEPTION, VIOLATION, CRASHED = pb.OUTCOME_EXCEPTION, pb.OUTCOME_POLICY_VIOLATION, pb.OUTCOME_CRASHED
MEMORY, CPU, WALL = pb.OUTCOME_OUT_OF_MEMORY, pb.OUTCOME_CPU_TIMEOUT, pb.OUTCOME_WALL_TIMEOUT

# name: (code, outcomes it may have). Whatever of it succeeds ends in OK, which none of them allows.
FILES = {
    "reads_passwords": "open('/etc/passwd').read()",
    "reads_its_environment": "open('/proc/self/environ').read()",
    "reads_the_supervisors_environment": "[open(f'/proc/{n}/environ').read() for n in range(1, 100)]",
    "reads_memory_of_process_1": "open('/proc/1/mem', 'rb').read(1)",
    "lists_the_root": "os.listdir('/')",
    "lists_proc": "os.listdir('/proc')",
    "lists_the_home_of_root": "os.listdir('/root')",
    "walks_up_from_the_library": "os.listdir(os.path.dirname(os.__file__) + '/../../../../..')",
    "writes_into_tmp": "open('/tmp/deepmath-attack', 'w')",
    "writes_into_the_library": "open(os.__file__, 'a')",
    "opens_for_reading_and_writing": "os.open(os.__file__, os.O_RDWR)",
    "truncates_a_library_file": "os.truncate(os.__file__, 0)",
    "removes_a_library_file": "os.unlink(os.__file__)",
    "renames_a_library_file": "os.rename(os.__file__, '/tmp/os.py')",
    "makes_a_folder": "os.mkdir('/tmp/deepmath-attack')",
    "makes_a_folder_in_the_library": "os.mkdir(os.path.dirname(os.__file__) + '/attack')",
    "makes_a_link": "os.symlink('/etc/passwd', '/tmp/link')",
    "makes_a_fifo": "os.mkfifo('/tmp/fifo')",
    "makes_a_device": "os.mknod('/tmp/device', 0o60600, 0x0801)",
    "makes_a_nameless_file": "os.open(os.path.dirname(os.__file__), os.O_TMPFILE | os.O_WRONLY)",
    "changes_a_mode": "os.chmod(os.__file__, 0o777)",
    "changes_an_owner": "os.chown(os.__file__, 0, 0)",
    "changes_times": "os.utime(os.__file__, (0, 0))",
    "writes_into_shared_memory": "open('/dev/shm/attack', 'w')",
    "reads_a_disk": "open('/dev/vda', 'rb').read(1)",
    "reads_kernel_memory": "open('/dev/mem', 'rb').read(1)",
    "opens_a_terminal": "open('/dev/tty', 'r')",
    "saves_with_numpy": "import numpy\nnumpy.savetxt('/tmp/attack', [1])",
    "reads_with_numpy": "import numpy\nnumpy.fromfile('/etc/passwd')",
    "maps_a_file_with_numpy": "import numpy\nnumpy.memmap('/tmp/attack', mode='w+', shape=1)",
    "opens_with_openat2": "call(437, -100, b'/etc/passwd', b'\\0' * 24, 24)",
    "changes_directory_out": "os.chdir('..')\nopen('etc/passwd')",
    "makes_a_memory_file": "os.memfd_create('code')",
}
NETWORK = {
    "tcp_socket": "libc.socket(2, 1, 0)",
    "udp_socket": "libc.socket(2, 2, 0)",
    "ipv6_socket": "libc.socket(10, 1, 0)",
    "unix_socket": "libc.socket(1, 1, 0)",
    "raw_socket": "libc.socket(2, 3, 1)",
    "netlink_socket": "libc.socket(16, 3, 0)",
    "packet_socket": "libc.socket(17, 3, 0)",
    "vsock_socket": "libc.socket(40, 1, 0)",
    "socket_pair": "libc.socketpair(1, 1, 0, (ctypes.c_int * 2)())",
    "message_on_the_control_socket": "libc.sendmsg(3, b'\\0' * 56, 0)",
    "listen_on_the_control_socket": "libc.listen(3, 1)",
    "name_lookup": "libc.gethostbyname(b'example.org')",
    "io_uring": "call(425, 8, ctypes.create_string_buffer(256))",
}
PROCESSES = {
    "exec": "os.execv('/bin/sh', ['sh'])",
    "exec_of_python": "os.execv(sys.executable, ['python'])",
    "fork": "os.fork()",
    "vfork_and_exec": "os.posix_spawn('/bin/sh', ['sh'], {})",
    "system": "libc.system.restype = ctypes.c_int\nassert libc.system(b'true') == 0",
    "subprocess": "sys.modules['importlib'].import_module('subprocess').run(['true'])",
    "clone": "call(56, 17, 0, 0, 0, 0)",
    "clone3": "call(435, b'\\0' * 88, 88)",
    "thread": "sys.modules['threading'].Thread(target=print).start()",
    "fork_bomb": "while True: os.fork()",
    "thread_bomb": "while True: sys.modules['threading'].Thread(target=print).start()",
    "process_pool": "sys.modules['importlib'].import_module('multiprocessing').Pool(2)",
    "new_user_namespace": "libc.unshare(0x10000000)",
    "another_namespace": "libc.setns(0, 0)",
    "ptrace": "libc.ptrace(16, 1, 0, 0)",
    "memory_of_another_process": "call(310, 1, 0, 0, 0, 0, 0)",
    "pidfd": "os.pidfd_open(1)",
    "mount": "libc.mount(b'none', b'/', b'tmpfs', 0, 0)",
    "unmount": "libc.umount2(b'/', 2)",
    "change_of_root": "os.chroot('/')",
    "bpf": "call(321, 0, 0, 0)",
    "performance_counters": "call(298, 0, 0, 0, 0, 0)",
    "userfaultfd": "call(323, 0)",
    "key_ring": "call(250, 0, 0)",
    "kernel_module": "call(175, 0, 0, 0)",
    "reboot": "libc.reboot(0)",
    "host_name": "libc.sethostname(b'x', 1)",
    "clock": "sys.modules['time'].clock_settime(0, 0)",
    "becomes_root": "os.setuid(0)",
    "ancient_32_bit_numbers": "call(0x40000000 + 41, 2, 1, 0)",
}
SIGNALS = {
    "kills_its_parent": "os.kill(os.getppid(), 9)",
    "kills_process_1": "os.kill(1, 9)",
    "kills_everybody": "os.kill(-1, 9)",
    "kills_its_group": "os.killpg(0, 9)",
    "kills_neighbours": "[os.kill(n, 9) for n in range(2, 1000)]",
    "kills_a_thread": "call(234, 1, 1, 9)",
    "takes_over_signals": "sys.modules['signal'].signal(10, print)",
    "signals_on_a_descriptor": "sys.modules['importlib'].import_module('fcntl').fcntl(3, 8, 1)",
}
MAP_A_LIBRARY_FILE = """
libc.mmap.restype = ctypes.c_void_p
page = ctypes.c_void_p(libc.mmap(None, 4096, os.sys.modules["mmap"].PROT_READ, 1, os.open(os.__file__, 0), 0))
"""
LIMITS = {
    "raises_its_memory_limit": "r = sys.modules['resource']\nr.setrlimit(r.RLIMIT_AS, (-1, -1))",
    "raises_its_processor_limit": "r = sys.modules['resource']\nr.setrlimit(r.RLIMIT_CPU, (-1, -1))",
    "sets_limits_of_others": "r = sys.modules['resource']\nr.prlimit(1, r.RLIMIT_NOFILE, (1, 1))",
    "raises_its_priority": "os.nice(-5)",
    "moves_to_another_core": "os.sched_setaffinity(0, {0})",
    "becomes_real_time": "os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))",
    "locks_memory": "assert libc.mlockall(3) == 0",
    "opens_too_many_files": "keep = [open(os.__file__) for _ in range(100)]",
    "makes_pages_executable": "assert libc.mprotect(ctypes.c_void_p(id(1) & ~4095), 4096, 7) == 0",
    "maps_executable_pages": "import random\nsys.modules['importlib'].import_module('mmap').mmap(-1, 4096, prot=7)",
    "removes_its_filter": "assert libc.prctl(22, 0, 0, 0, 0) == 0",
    "reads_the_processor_time_of_process_1": "sys.modules['time'].clock_gettime((~1 << 3) | 2)",
    "reads_the_processor_time_of_its_parent": "sys.modules['time'].clock_gettime((~os.getppid() << 3) | 2)",
    "asks_for_the_session_of_its_parent": "os.getsid(os.getppid())",
    "wakes_others_by_a_library_file": MAP_A_LIBRARY_FILE + "call(202, page, 1, 1, None, None, 0)",
    "becomes_dumpable": "assert libc.prctl(4, 1, 0, 0, 0) == 0",
}
DENIED = FILES | PROCESSES | SIGNALS | LIMITS


async def another_session_works(executor) -> None:
    result = await executor.execute("import sympy\nsympy.factorint(360)")
    assert result.value == "{2: 3, 3: 2, 5: 1}", result


@pytest.mark.parametrize("name", DENIED)
async def test_what_is_forbidden_fails(executor, name):
    result = await executor.execute(PRELUDE + DENIED[name], wall_ms=5000)
    assert result.outcome in (EXCEPTION, VIOLATION), result
    assert result.state_lost == (result.outcome == VIOLATION)
    await another_session_works(executor)


@pytest.mark.parametrize("name", NETWORK)
async def test_network_is_a_violation_that_kills(executor, name):
    result = await executor.execute(PRELUDE + NETWORK[name], wall_ms=5000)
    if name == "name_lookup" and result.outcome == pb.OUTCOME_OK:
        pytest.fail("a name was looked up")
    assert (result.outcome, result.state_lost) == (VIOLATION, True), result
    await another_session_works(executor)


async def test_listener_of_this_machine_is_not_reached(executor):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.5)
        port = listener.getsockname()[1]
        connect = f"""
import struct
s = libc.socket(2, 1, 0)
libc.connect(s, struct.pack('=HH4s8x', 2, {(port & 255) << 8 | port >> 8}, bytes([127, 0, 0, 1])), 16)
"""
        await executor.execute(PRELUDE + connect.replace("import struct", "struct = sys.modules['struct']"))
        with pytest.raises(TimeoutError):
            listener.accept()


MEMORY_HOGS = {
    "bytes": "bytes(1 << 40)",
    "list": "x = [0]\nwhile True: x += x",
    "integer": "x = 3\nwhile True: x = x * x * x",
    "array": "import numpy\nnumpy.zeros(1 << 40)",
    "arrays_that_are_touched": "import numpy\nx = []\nwhile True: x.append(numpy.ones(1 << 20))",
    "text": "'x' * (1 << 40)",
    "map": "sys.modules['importlib'].import_module('mmap').mmap(-1, 1 << 40)",
    "stack_of_generators": "g = iter([1])\nwhile True: g = (x for x in [g, bytes(1 << 16)])",
}


@pytest.mark.parametrize("name", MEMORY_HOGS)
async def test_memory_stays_under_the_limit(executor, name):
    result = await executor.execute(PRELUDE + MEMORY_HOGS[name], memory_bytes=128 << 20, cpu_ms=1500)
    assert result.outcome in (MEMORY, CPU, EXCEPTION, CRASHED), result
    if result.outcome == EXCEPTION:
        assert result.exception.type == "OSError"  # mmap's way to say no memory
    assert result.usage.peak_memory_bytes < 400 << 20
    await another_session_works(executor)


DEATHS = {
    "exits": "os._exit(0)",
    "exits_with_status_of_a_kill": "os._exit(137)",
    "aborts": "os.abort()",
    "reads_address_0": "ctypes.string_at(0)",
    "calls_address_0": "ctypes.CFUNCTYPE(None)(0)()",
    "overflows_the_stack": "x = ()\nfor _ in range(4 * 10**6): x = (x,)\nhash(x)",
    "breaks_an_object": "ctypes.memset(id(x := [1]), 0, 16)\nprint(x)",
    "breaks_none": "ctypes.memset(id(None), 255, 16)\nprint(None)",
}


@pytest.mark.parametrize("name", DEATHS)
async def test_interpreter_that_is_broken_takes_nobody_along(executor, name):
    result = await executor.execute(PRELUDE + DEATHS[name], cpu_ms=5000)
    assert (result.outcome, result.state_lost) == (CRASHED, True), result
    await another_session_works(executor)


FRAME = "import json\nbody = json.dumps({})\n"
FORGERIES = {
    "garbage": "os.write(3, b'\\xff' * 64)",
    "endless_frame": "os.write(3, b'\\xff\\xff\\xff\\xff' + b'x' * 1000)",
    "frame_of_no_json": "os.write(3, b'\\0\\0\\0\\x03abc')",
    "frame_of_a_list": "os.write(3, b'\\0\\0\\0\\x02[]')",
    "frame_of_nested_lists": "os.write(3, b'\\0\\0\\x27\\x10' + b'[' * 10000)",
    "frame_of_nothing": "os.write(3, b'\\0\\0\\0\\0')",
    "outcome_that_is_not_there": "forge({'sequence': 1, 'outcome': 'SPLENDID'})",
    "outcome_that_is_the_supervisors": "forge({'sequence': 1, 'outcome': 'SANDBOX_FAILED'})",
    "very_many_parts": "forge({'sequence': 1, 'outcome': 'OK', 'junk': [[]] * 50_000})",
    "other_sequence": "forge({'sequence': 7, 'outcome': 'OK'})",
    "value_that_is_a_number": "forge({'sequence': 1, 'outcome': 'OK', 'value': 3, 'dropped': 0})",
    "value_over_every_limit": "forge({'sequence': 1, 'outcome': 'OK', 'value': 'x' * 10**7, 'dropped': 0})",
    "negative_count": "forge({'sequence': 1, 'outcome': 'OK', 'value': '', 'dropped': -1})",
    "count_that_is_a_boolean": "forge({'sequence': 1, 'outcome': 'OK', 'value': '', 'dropped': True})",
    "exception_without_parts": "forge({'sequence': 1, 'outcome': 'EXCEPTION', 'exception': {}})",
    "exception_that_is_a_text": "forge({'sequence': 1, 'outcome': 'EXCEPTION', 'exception': 'x'})",
    "second_ready": "forge({'ready': True})",
    "closed_descriptor": "os.close(3)",
    "all_descriptors_closed": "os.closerange(0, 64)",
}
FORGE = """
def forge(message):
    body = sys.modules["json"].dumps(message).encode()
    os.write(3, len(body).to_bytes(4, "big") + body)
"""


@pytest.mark.parametrize("name", FORGERIES)
async def test_forged_answer_is_a_crash_of_the_forger(executor, name):
    async with executor.session() as session:
        code = PRELUDE + FORGE + FORGERIES[name] + "\nwhile True: pass"
        result = await session.run(code, cpu_ms=3000, wall_ms=3000)
        assert (result.outcome, result.state_lost) == (CRASHED, True), result
        assert (await session.run("1 + 1")).value == "2"
    await another_session_works(executor)


async def test_forged_value_is_cut_to_the_limit(executor):
    code = PRELUDE + FORGE + "forge({'sequence': 1, 'outcome': 'OK', 'value': 'x' * 3000, 'dropped': 5})"
    code += "\nwhile True: pass"  # or the runner's own answer races with the forged one
    result = await executor.execute(code, output_bytes=1000)
    assert (len(result.value), result.dropped_bytes.value) == (1000, 2005)


async def test_snippet_that_computes_behind_a_forged_answer_is_killed(executor):
    async with executor.session() as session:
        spin = PRELUDE + FORGE + "forge({'sequence': 1, 'outcome': 'OK'})\nwhile True: pass"
        assert (await session.run(spin)).outcome == pb.OUTCOME_OK
        await executor.until(lambda load: load.running_snippets == 0)
        threading.Event().wait(1.5)
        dead = await session.run("'alive'")
        assert (dead.outcome, dead.state_lost) == (CRASHED, True)
        assert (await session.run("1")).value == "1"


async def test_snippet_that_begins_a_frame_behind_its_answer_is_killed(executor):
    async with executor.session() as session:
        code = "forge({'sequence': 1, 'outcome': 'OK'})\nsleep = sys.modules['time'].sleep\n"
        code += "sleep(0.3)\nos.write(3, b'\\0')\nsleep(60)"
        assert (await session.run(PRELUDE + FORGE + code)).outcome == pb.OUTCOME_OK
        threading.Event().wait(1)
        dead = await session.run("'alive'", wall_ms=3000)
        assert (dead.outcome, dead.state_lost) == (CRASHED, True)


SABOTAGE = {
    "stdout_is_none": "sys.stdout = None",
    "stdout_raises": "class S:\n    def write(self, text): raise KeyboardInterrupt\nsys.stdout = S()",
    "stdout_is_closed": "sys.stdout.close()",
    "stdout_descriptor_is_closed": "os.close(1)\nos.close(2)",
    "builtins_are_emptied": "b = sys.modules['builtins']\nb.print = b.len = b.repr = b.isinstance = b.str = None",
    "builtins_of_the_snippet_are_emptied": "__builtins__.clear()",
    "modules_are_emptied": "sys.modules.clear()",
    "json_is_patched": "sys.modules['json'].dumps = lambda *_: 1 / 0",
    "os_is_patched": "os.write = os.read = os._exit = None",
    "trace_function_raises": "sys.settrace(lambda *_: 1 / 0)",
    "recursion_limit_is_low": "sys.setrecursionlimit(50)",
    "recursion_limit_is_high": "sys.setrecursionlimit(10**9)",
    "variables_are_cleared": "globals().clear()",
    "exit_handlers": "sys.modules['atexit'].register(lambda: print(1 / 0))",
    "hostile_exception": "class E(BaseException):\n    def __str__(self): raise SystemExit\n"
    "    __repr__ = __str__\nraise E",
    "hostile_metaclass": "class M(type):\n    def __getattribute__(c, n): raise SystemExit\n"
    "class E(Exception, metaclass=M): pass\nraise E",
    "hostile_repr": "class A:\n    def __repr__(self): raise BaseException('x')\nA()",
    "repr_of_the_wrong_type": "class A:\n    def __repr__(self): return 5\nA()",
    "huge_exception": "raise ValueError('x' * 10**7)",
    "endless_chain": "e = ValueError()\ne.__cause__ = e\nraise e",
    "hostile_del": "class A:\n    def __del__(self): raise SystemExit\na = A()\na = None",
}


@pytest.mark.parametrize("name", SABOTAGE)
async def test_sabotage_of_the_interpreter_reaches_no_other_session(executor, name):
    async with executor.session() as session:
        result = await session.run(PRELUDE + SABOTAGE[name], wall_ms=5000)
        assert result.outcome in (pb.OUTCOME_OK, EXCEPTION, CRASHED), result
        assert len(result.exception.message) <= 16 << 10
        after = await session.run("1 + 1", wall_ms=5000)  # in this sandbox or, where it died, in the next
        assert after.value == "2" or after.outcome in (EXCEPTION, CRASHED), after
    await another_session_works(executor)


async def test_environment_of_a_snippet_holds_no_secret(executor):
    result = await executor.execute(PRELUDE + "dict(os.environ)")
    assert "PYTHONHASHSEED" in result.value
    assert SECRET not in result.value


async def test_name_of_the_host_is_not_told(small_executor):
    assert (await small_executor.execute(PRELUDE + "os.uname().nodename")).value == "'sandbox'"


async def test_root_of_a_sandbox_is_bare(small_executor):
    installation = [*Path(sys.prefix).parents, *Path(sys.base_prefix).parents]  # these have to be there
    places = [place for place in ("/etc", "/proc", "/dev", "/home", "/tmp", "/sys") if Path(place) not in installation]
    code = PRELUDE + f"[place for place in {places} if os.path.exists(place)]"
    assert (await small_executor.execute(code)).value == "[]"
