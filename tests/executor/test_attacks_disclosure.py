"""Information disclosure: a snippet learns nothing about the host, the service or other sessions.

The other test_attacks_*.py files hold one kind of attack each.
"""

import os
import sys
from pathlib import Path

import pytest
from support.attacks import is_refused
from support.executor_process import SECRET


async def test_environment_contains_no_secret(attacker):
    result = await attacker.run("dict(os.environ)")
    assert "PYTHONHASHSEED" in result.value
    assert SECRET not in result.value


async def test_process_arguments_are_hidden(attacker):
    assert (await attacker.run("sys.argv, sys.orig_argv")).value == "([''], [''])"


async def test_memory_contains_no_secret_of_the_service(attacker):
    search = f"""
g = load("gc")
half, rest = {SECRET[:4]!r}, {SECRET[4:]!r}
[o for o in g.get_objects() for t in (o.values() if type(o) is dict else ()) if type(t) is str and t == half + rest]
"""
    assert (await attacker.run(search)).value == "[]"


@pytest.mark.parametrize("limit", ["RLIMIT_CORE", "RLIMIT_FSIZE", "RLIMIT_NPROC", "RLIMIT_MEMLOCK", "RLIMIT_MSGQUEUE"])
async def test_limit_of_an_unneeded_resource_is_zero(attacker, limit):
    assert (await attacker.run(f"r = load('resource')\nr.getrlimit(r.{limit})")).value == "(0, 0)"


async def test_snippet_runs_as_nobody(small_executor):
    ids = "import random\nos = random._os\nos.getuid(), os.geteuid(), os.getgid(), os.getegid(), os.getgroups()"
    assert (await small_executor.execute(ids)).value == "(65534, 65534, 65534, 65534, [])"


async def test_grpc_and_protobuf_are_not_loaded(attacker):
    assert (await attacker.run("[name for name in sys.modules if name.startswith(('grpc', 'google'))]")).value == "[]"


async def test_traceback_shows_no_host_path(attacker):
    result = await attacker.run("load('json').loads('{')")
    assert "JSONDecodeError" in result.exception.traceback
    assert "/" not in result.exception.traceback


async def test_warning_shows_no_host_path(attacker):
    result = await attacker.run("import numpy\nnumpy.log(0)\nload('warnings').warn('attack', stacklevel=2)")
    assert "RuntimeWarning" in result.stderr
    assert "/" not in result.stderr


REFUSED = {
    "system_information": "call(99, ctypes.create_string_buffer(200))",
    "kernel_and_host_name": "checked(libc.uname(ctypes.create_string_buffer(400)))",
    "host_name": "load('socket').gethostname()",
    "load": "os.getloadavg()",
    "memory": "os.sysconf('SC_PHYS_PAGES')",
    "disk": "os.statvfs('/')",
    "disk_by_descriptor": "os.fstatvfs(1)",
    "priority_of_another_process": "os.getpriority(os.PRIO_PROCESS, os.getppid())",
    "priority": "os.getpriority(os.PRIO_PROCESS, 0)",
    "scheduler_of_another_process": "os.sched_getscheduler(os.getppid())",
    "processors_of_another_process": "os.sched_getaffinity(os.getppid())",
    "session_of_another_process": "os.getsid(os.getppid())",
    "group_of_another_process": "os.getpgid(os.getppid())",
    "clock_of_another_process": "load('time').clock_gettime(~os.getppid() << 3 | 2)",
    "limits_of_another_process": "load('resource').prlimit(os.getppid(), 0)",
    "all_ids_of_the_user": "os.getresuid()",
    "capabilities": "checked(libc.capget(b'\\x22\\x05\\x08\\x20\\0\\0\\0\\0', ctypes.create_string_buffer(24)))",
    "file_creation_mask": "checked(libc.syscall(95, 0) or None)",
    "cached_pages": "m = libc.mincore\n"
    "m.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]\n"
    "checked(m(id(os) & ~4095, 4096, ctypes.create_string_buffer(8)))",
    "seccomp_mode": "checked(libc.prctl(21, 0, 0, 0, 0))",
    "processors_of_the_machine": "open('/sys/devices/system/cpu/present').read()",
    "uptime": "open('/proc/uptime').read()",
    "memory_of_the_machine": "open('/proc/meminfo').read()",
}


@pytest.mark.parametrize("name", REFUSED)
async def test_question_about_the_host_is_refused(attacker, name):
    is_refused(
        await attacker.run(REFUSED[name]), "OSError", "PermissionError", "FileNotFoundError", "ProcessLookupError"
    )


async def test_host_name_and_kernel_version_are_those_of_every_sandbox(attacker):
    names = "('Linux', 'sandbox', '5.13', '')"
    assert (await attacker.run("tuple(os.uname())[:4]")).value == names
    assert (await attacker.run("tuple(load('platform').uname())[:4]")).value == names


async def test_time_zone_of_the_host_is_hidden(attacker):
    assert (await attacker.run("t = load('time')\nt.tzname[0], t.timezone, t.localtime(0).tm_hour")).value == (
        "('UTC', 0, 0)"
    )


async def test_process_ids_do_not_reveal_the_number_of_processes(small_executor):
    """At level full the sandboxes have their own pid namespace, so its process ids are small."""
    result = await small_executor.execute("import random\nrandom._os.getpid() < 100_000, random._os.getppid()")
    assert result.value == "(True, 1)"


async def test_root_directory_is_minimal(small_executor):
    installation = [*Path(sys.prefix).parents, *Path(sys.base_prefix).parents]  # these must exist
    places = [place for place in ("/etc", "/proc", "/dev", "/home", "/tmp", "/sys") if Path(place) not in installation]
    code = f"import random\n[place for place in {places} if random._os.path.exists(place)]"
    assert (await small_executor.execute(code)).value == "[]"


async def test_tests_folder_does_not_exist_at_level_full(small_executor):
    code = f"import random\nrandom._os.path.exists({os.fspath(Path(__file__).parent)!r})"
    assert (await small_executor.execute(code)).value == "False"
