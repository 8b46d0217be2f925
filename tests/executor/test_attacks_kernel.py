"""Attacks on kernel interfaces and on the isolation itself: privileges, filters, limits, executable memory."""

import pytest
from support.attacks import is_killed, is_refused

MAP_A_LIBRARY_FILE = """
page = ctypes.c_void_p(libc.mmap(None, 4096, 1, 1, os.open(os.__file__, 0), 0))
"""
REFUSED = {
    "locks_memory": "checked(libc.mlockall(3))",
    "locks_memory_on_faults": "call(325, id(1) & ~4095, 4096, 1)",
    "moves_pages": "call(279, 0, 0, 0, 0, 0, 0)",
    "binds_memory_to_a_node": "call(237, 0, 0, 0, 0, 0, 0)",
    "tells_which_pages_are_resident": "call(27, id(1) & ~4095, 4096, ctypes.create_string_buffer(1))",
    "makes_pages_executable": "checked(libc.mprotect(ctypes.c_void_p(id(1) & ~4095), 4096, 7))",
    "makes_pages_executable_by_key": "call(329, id(1) & ~4095, 4096, 7, -1)",
    "maps_executable_pages": "load('mmap').mmap(-1, 4096, prot=7)",
    "maps_executable_pages_it_will_write": "load('mmap').mmap(-1, 4096, prot=5)",
    "maps_a_library_writable_and_executable": "load('mmap').mmap(os.open(os.__file__, 0), 4096, flags=2, prot=7)",
    "makes_a_protection_key": "call(330, 0, 0)",
    "remaps_pages_of_a_file": "call(216, id(1) & ~4095, 4096, 0, 0, 0)",
    "removes_its_filter": "checked(libc.prctl(22, 0, 0, 0, 0))",
    "adds_a_filter": "call(317, 1, 0, 0)",
    "listens_to_a_filter": "call(317, 1, 8, 0)",
    "makes_landlock_rules": "call(444, 0, 0, 1)",
    "becomes_dumpable": "checked(libc.prctl(4, 1, 0, 0, 0))",
    "survives_its_parent": "checked(libc.prctl(1, 0, 0, 0, 0))",
    "allows_itself_new_privileges": "checked(libc.prctl(38, 0, 0, 0, 0))",
    "allows_anybody_to_trace_it": "checked(libc.prctl(0x59616d61, -1, 0, 0, 0))",
    "becomes_a_reaper": "checked(libc.prctl(36, 1, 0, 0, 0))",
    "traps_the_time_stamp_counter": "checked(libc.prctl(26, 2, 0, 0, 0))",
    "changes_its_name": "checked(libc.prctl(15, b'systemd', 0, 0, 0))",
    "moves_its_segments": "call(158, 0x1002, 0)",
    "reads_a_value_of_prctl": "checked(libc.prctl(3, 0, 0, 0, 0))",
    "merges_its_pages_with_those_of_others": "checked(libc.madvise(ctypes.c_void_p(id(1) & ~4095), 4096, 12))",
    "throws_out_pages_of_all": "checked(libc.madvise(ctypes.c_void_p(id(1) & ~4095), 4096, 21))",
    "stops_all_processors": "call(324, 1, 0, 0)",
    "wakes_others_by_a_library_file": MAP_A_LIBRARY_FILE + "call(202, page, 1, 1, None, None, 0)",
    "waits_for_others_by_a_library_file": MAP_A_LIBRARY_FILE + "call(202, page, 0, 0, None, None, 0)",
    "writes_to_a_shared_map_of_a_library_file": "load('mmap').mmap(os.open(os.__file__, 0), 4096)",
    "changes_its_file_identity": "call(122, 0)",
    "hangs_up_its_terminal": "call(153)",
    "becomes_real_time": "os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))",
    "becomes_real_time_by_the_new_call": "call(314, 0, b'\\0' * 56, 0)",
    "sets_its_io_priority": "call(251, 1, 0, 0)",
    "raises_its_priority": "os.nice(-5)",
    "lowers_the_priority_of_others": "os.setpriority(os.PRIO_USER, 0, 19)",
    "moves_to_another_core": "os.sched_setaffinity(0, {0})",
    "sets_limits_of_others": "r = load('resource')\nr.prlimit(os.getppid(), r.RLIMIT_NOFILE, (1, 1))",
    "reads_limits_of_others": "r = load('resource')\nr.prlimit(os.getppid(), r.RLIMIT_NOFILE)",
}
LIMITS = {
    "raises_its_memory_limit": "r = load('resource')\nr.setrlimit(r.RLIMIT_AS, (-1, -1))",
    "raises_its_processor_limit": "r = load('resource')\nr.setrlimit(r.RLIMIT_CPU, (-1, -1))",
    "raises_its_descriptor_limit": "r = load('resource')\nr.setrlimit(r.RLIMIT_NOFILE, (4096, 4096))",
    "lowers_its_processor_limit": "r = load('resource')\nr.setrlimit(r.RLIMIT_CPU, (1, 1))",
}
KILLED = {
    "enters_a_user_namespace": "libc.unshare(0x10000000)",
    "enters_a_mount_namespace": "libc.unshare(0x20000)",
    "joins_a_namespace": "libc.setns(0, 0)",
    "loads_a_program_into_the_kernel": "call(321, 0, 0, 0)",
    "counts_performance": "call(298, 0, 0, 0, 0, 0)",
    "handles_page_faults": "call(323, 0)",
    "reads_the_key_ring": "call(250, 0, 0)",
    "adds_a_key": "call(248, b'user', b'x', b'x', 1, -3)",
    "requests_a_key": "call(249, b'user', b'x', 0, -3)",
    "loads_a_kernel_module": "call(175, 0, 0, 0)",
    "loads_a_kernel_module_from_a_file": "call(313, 0, 0, 0)",
    "removes_a_kernel_module": "call(176, b'x', 0)",
    "loads_another_kernel": "call(246, 0, 0, 0, 0)",
    "reboots": "libc.reboot(0)",
    "renames_the_host": "libc.sethostname(b'x', 1)",
    "reads_the_kernels_log": "libc.klogctl(3, ctypes.create_string_buffer(64), 64)",
    "sets_the_clock": "load('time').clock_settime(0, 0)",
    "bends_the_clock": "call(159, b'\\0' * 208)",
    "opens_ports_of_the_machine": "libc.ioperm(0x378, 1, 1)",
    "takes_all_ports": "libc.iopl(3)",
    "changes_its_descriptor_table": "call(154, 0, 0, 0)",
    "changes_its_personality": "libc.personality(0x0400000)",
    "becomes_root": "os.setuid(0)",
    "becomes_root_by_all_its_names": "os.setresuid(0, 0, 0)",
    "joins_the_group_of_root": "os.setgid(0)",
    "takes_groups": "os.setgroups([0])",
    "takes_capabilities": "libc.capset(b'\\x22\\x05\\x08\\x20\\0\\0\\0\\0', b'\\xff' * 24)",
    "uses_ancient_numbers": "call(0x40000000 + 41, 2, 1, 0)",
}


@pytest.mark.parametrize("name", REFUSED)
async def test_call_against_the_isolation_is_refused(attacker, name):
    is_refused(await attacker.run(REFUSED[name], wall_ms=5000), "PermissionError")


@pytest.mark.parametrize("name", LIMITS)
async def test_limit_change_is_refused(attacker, name):
    # Python's `resource` raises ValueError for EPERM.
    is_refused(await attacker.run(LIMITS[name], wall_ms=5000), "ValueError")


@pytest.mark.parametrize("name", KILLED)
async def test_privileged_call_kills(attacker, name):
    is_killed(await attacker.run(KILLED[name], wall_ms=5000))


async def test_32_bit_system_call_kills(attacker):
    """Its system call numbers differ, so a filter for the 64-bit numbers would let it through."""
    code = """
start = ctypes.cast(libc.getpid, ctypes.c_void_p).value & ~4095
at = ctypes.string_at(start, 0x60000).index(b"\\xcd\\x80")
ctypes.CFUNCTYPE(ctypes.c_long)(start + at)()
"""
    is_killed(await attacker.run(code))
