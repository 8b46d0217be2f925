"""Attacks on processes: creating, signalling, tracing, reading and detecting others."""

import os

import psutil
import pytest
from support.attacks import is_killed, is_refused

# Calls that libraries may try are refused with an error that they can handle.
REFUSED = {
    "forks": "os.fork()",
    "forks_by_the_old_call": "call(57)",
    "vforks": "call(58)",
    "clones": "call(56, 17, 0, 0, 0, 0)",
    "clones_into_namespaces": "call(56, 0x10000000 | 17, 0, 0, 0, 0)",
    "clones_by_the_new_call": "call(435, b'\\0' * 88, 88)",
    "forks_without_end": "while True: os.fork()",
    "forks_a_terminal": "os.forkpty()",
    "spawns": "os.posix_spawn('/bin/sh', ['sh'], {})",
    "runs_a_command": "load('subprocess').run(['true'])",
    "runs_a_command_by_the_event_loop": "a = load('asyncio')\na.run(a.create_subprocess_exec('true'))",
    "opens_a_command": "os.popen('true')",
    "starts_a_process_pool": "load('multiprocessing').Pool(2)",
    "starts_a_forked_process": "load('multiprocessing').get_context('fork').Process(target=print).start()",
    "starts_a_fork_server": "sys.modules['__main__'].__spec__ = None\n"
    "load('multiprocessing').get_context('forkserver').Process(target=print).start()",
    "makes_a_pipe": "os.pipe()",
    "copies_a_descriptor": "os.dup(1)",
    "puts_a_descriptor_over_another": "os.dup2(1, 3)",
    "polls_with_epoll": "load('select').epoll()",
    "counts_events": "call(290, 0, 0)",
    "makes_a_timer_descriptor": "call(283, 1, 0)",
    "reads_signals_from_a_descriptor": "call(289, -1, b'\\0' * 8, 8, 0)",
    "kills_a_thread_of_its_parent": "call(234, os.getppid(), os.getppid(), 9)",
    "takes_over_a_signal": "load('signal').signal(10, print)",
    "ignores_the_alarm": "s = load('signal')\ns.signal(s.SIGALRM, s.SIG_IGN)",
    "raises_a_signal_by_the_library": "load('signal').raise_signal(9)",
    "blocks_signals": "s = load('signal')\ns.pthread_sigmask(s.SIG_BLOCK, s.valid_signals())",
    "waits_for_signals": "load('signal').sigwait({14})",
    "sets_a_timer": "checked(libc.setitimer(0, b'\\1' * 32, None))",
    "sets_an_alarm": "checked(libc.alarm(1))",
    "makes_a_timer": "call(222, 0, 0, ctypes.create_string_buffer(8))",
    "waits_for_children": "os.waitpid(-1, 0)",
    "leaves_its_session": "os.setsid()",
    "changes_its_group": "os.setpgid(0, 0)",
    "asks_for_the_session_of_its_parent": "os.getsid(os.getppid())",
    "asks_for_the_group_of_its_parent": "os.getpgid(os.getppid())",
    "asks_for_its_scheduler": "os.sched_getscheduler(0)",
    "moves_its_parent_to_one_core": "os.sched_setaffinity(os.getppid(), {0})",
    "reads_the_clock_of_process_1": "load('time').clock_gettime((~1 << 3) | 2)",
    "reads_the_clock_of_its_parent": "load('time').clock_gettime((~os.getppid() << 3) | 2)",
    "sleeps_on_the_clock_of_its_parent": "call(230, (~os.getppid() << 3) | 2, 0, b'\\0' * 16, 0)",
    "asks_for_the_cores_of_its_parent": "os.sched_getaffinity(os.getppid())",
    "starts_a_pool_of_dummies": "load('multiprocessing.dummy').Pool(2)",
    "starts_processes_of_scipy": "import scipy.optimize as o\n"
    "o.differential_evolution(lambda x: x[0]**2, [(-1, 1)], workers=2)",
}
THREADS = {
    "starts_a_thread": "load('threading').Thread(target=print).start()",
    "starts_threads_without_end": "while True: load('threading').Thread(target=print).start()",
    "starts_a_thread_below_the_library": "load('_thread').start_new_thread(print, ())",
    "starts_a_timer_thread": "load('threading').Timer(0.1, print).start()",
    "starts_a_pool_of_threads": "load('concurrent.futures.thread').ThreadPoolExecutor(2).submit(print)",
    "starts_workers_of_scipy": "import numpy, scipy.fft\nprint(scipy.fft.fft(numpy.ones((64, 4096)), workers=2).sum())",
}
# Calls that no library makes by accident kill.
KILLED = {
    "executes_a_shell": "os.execv('/bin/sh', ['sh'])",
    "executes_python": "os.execv(sys.executable, ['python'])",
    "executes_a_descriptor": "call(322, 3, b'', 0, 0, 0x1000)",
    "kills_its_parent": "os.kill(os.getppid(), 9)",
    "kills_process_1": "os.kill(1, 9)",
    "kills_everybody": "os.kill(-1, 9)",
    "kills_its_group": "os.killpg(0, 9)",
    "kills_itself_by_a_forbidden_call": "os.kill(os.getpid(), 9)",
    "stops_its_parent": "os.kill(os.getppid(), 19)",
    "kills_neighbours": "[os.kill(n, 9) for n in range(2, 1000)]",
    "asks_who_is_alive": "os.kill(1, 0)",
    "kills_by_the_old_thread_call": "call(200, os.getppid(), 9)",
    "queues_a_signal": "call(129, os.getppid(), 9, b'\\0' * 128)",
    "queues_a_signal_to_a_thread": "call(297, os.getppid(), os.getppid(), 9, b'\\0' * 128)",
    "signals_by_descriptor": "call(424, 3, 9, 0, 0)",
    "holds_its_parent_by_descriptor": "os.pidfd_open(os.getppid())",
    "takes_descriptors_of_its_parent": "call(438, 3, 0, 0)",
    "traces_its_parent": "libc.ptrace(16, os.getppid(), 0, 0)",
    "traces_itself": "libc.ptrace(0, 0, 0, 0)",
    "reads_memory_of_its_parent": "call(310, os.getppid(), 0, 0, 0, 0, 0)",
    "writes_memory_of_its_parent": "call(311, os.getppid(), 0, 0, 0, 0, 0)",
    "advises_its_parents_memory": "call(440, 3, 0, 0, 0, 0)",
    "compares_itself_with_its_parent": "call(312, os.getpid(), os.getppid(), 0, 0, 0)",
    "shares_memory": "libc.shmget(1, 4096, 0o1777)",
    "makes_a_semaphore": "libc.semget(1, 1, 0o1777)",
    "makes_a_message_queue": "libc.msgget(1, 0o1777)",
    "opens_a_posix_queue": "call(240, b'attack', 0o102, 0o666, 0)",
}


@pytest.mark.parametrize("name", REFUSED)
async def test_process_or_timer_call_is_refused(attacker, name):
    is_refused(await attacker.run(REFUSED[name], wall_ms=5000), "PermissionError")


@pytest.mark.parametrize("name", THREADS)
async def test_thread_cannot_be_started(attacker, name):
    is_refused(await attacker.run(THREADS[name], wall_ms=5000), "RuntimeError")


@pytest.mark.parametrize("name", KILLED)
async def test_call_that_targets_another_process_kills(attacker, name):
    is_killed(await attacker.run(KILLED[name], wall_ms=5000))


CALLS = {
    "SIGKILL": "os.kill({pid}, 9)",
    "SIGSTOP": "os.kill({pid}, 19)",
    "trace": "libc.ptrace(16, {pid}, 0, 0)",
    "pidfd": "os.pidfd_open({pid})",
    "memory": "call(310, {pid}, 0, 0, 0, 0, 0)",
}


@pytest.mark.parametrize("name", CALLS)
async def test_supervisor_is_not_reached_by_process_id(attacker, name):
    supervisor = psutil.Process(attacker.executor.pid)
    is_killed(await attacker.run(CALLS[name].format(pid=supervisor.pid)))
    assert supervisor.status() in (psutil.STATUS_RUNNING, psutil.STATUS_SLEEPING)


@pytest.mark.parametrize("name", CALLS)
async def test_process_of_the_same_user_is_not_reached_by_process_id(attacker, name):
    with psutil.Popen(["sleep", "60"]) as victim:
        is_killed(await attacker.run(CALLS[name].format(pid=victim.pid)))
        assert victim.status() == psutil.STATUS_SLEEPING
        victim.kill()


async def test_snippet_cannot_detect_processes(attacker):
    ask = f"""
mask = ctypes.create_string_buffer(128)
[n for n in (0, 1, {os.getpid()}, os.getppid()) if libc.sched_getaffinity(n, 128, mask) != -1]
"""
    assert (await attacker.run(ask)).value == "[0]"


async def test_snippet_is_alone_in_its_session_and_process_group(attacker):
    assert (await attacker.run("os.getsid(0) == os.getpgid(0) == os.getpid()")).value == "True"
