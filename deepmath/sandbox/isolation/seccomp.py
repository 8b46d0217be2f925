"""Seccomp filter of a sandbox: the system calls that arithmetic, memory and lazy imports need.

Any other call fails with EPERM, so that a library that tries something harmless continues. Calls that no library makes
by accident kill the process, which the supervisor reports as a policy violation.
"""

import ctypes
import errno
import mmap
import os
import socket

from deepmath.sandbox.isolation import syscalls

_ALLOWED = """
    read readv pread64 write writev lseek close close_range fstat newfstatat stat lstat statx getdents64
    access faccessat faccessat2 getcwd poll ppoll select pselect6
    brk munmap mremap
    sched_yield set_robust_list rseq
    nanosleep gettimeofday time times getrusage getcpu
    getrandom getpid gettid getppid getuid geteuid getgid getegid getgroups getpgrp
    rt_sigreturn sigaltstack restart_syscall exit exit_group
""".split()

_FATAL = """
    socketpair bind connect listen accept accept4 sendto sendmsg sendmmsg recvmsg recvmmsg
    execve execveat ptrace process_vm_readv process_vm_writev process_madvise kcmp pidfd_open pidfd_getfd
    pidfd_send_signal kill tkill rt_sigqueueinfo rt_tgsigqueueinfo unshare setns
    mount umount2 pivot_root chroot move_mount open_tree fsopen fsmount fsconfig fspick mount_setattr
    bpf perf_event_open userfaultfd io_uring_setup io_uring_enter io_uring_register
    keyctl add_key request_key memfd_create memfd_secret open_by_handle_at name_to_handle_at fanotify_init
    init_module finit_module delete_module kexec_load kexec_file_load reboot swapon swapoff acct quotactl
    iopl ioperm modify_ldt personality setuid setgid setreuid setregid setresuid setresgid setgroups capset
    settimeofday clock_settime adjtimex clock_adjtime sethostname setdomainname syslog
    mq_open mq_unlink shmget shmat shmctl semget semop semctl msgget msgsnd msgrcv msgctl
""".split()

# Libraries open sockets of these families to ask about users and network cards; EPERM is an answer to them.
_ASKING_FAMILIES = (socket.AF_UNIX, socket.AF_NETLINK)
_FAMILIES = range(46)  # <linux/socket.h>

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_TMPFILE & ~os.O_DIRECTORY
# <linux/fcntl.h>, <asm-generic/ioctls.h>
_F_GETFD, _F_SETFD, _F_GETFL = 1, 2, 3
_TCGETS, _FIONCLEX, _FIOCLEX = 0x5401, 0x5450, 0x5451
_FUTEX_PRIVATE_FLAG = 128  # <linux/futex.h>
# <asm-generic/mman-common.h>: NORMAL to DONTNEED, FREE, HUGEPAGE, NOHUGEPAGE. Some of the others reach beyond the
# process: the timing of MERGEABLE reveals what other processes hold in memory, PAGEOUT evicts shared library pages.
_ADVICE = (0, 1, 2, 3, 4, 8, 14, 15)
_MAP_GROWSDOWN, _MAP_HUGETLB = 0x100, 0x40000  # <asm-generic/mman.h>
_PROCESS_CLOCK = 1 << 31  # <linux/posix-timers.h>: clock ids of processes and threads are negative


class _Program(ctypes.Structure):
    """struct sock_fprog of <linux/filter.h>."""

    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def compile_filter() -> bytes:
    """Return the filter as BPF instructions, which any number of processes can load.

    Raises:
        OSError, RuntimeError: The C library libseccomp is not installed or does not support this architecture.
    """
    import pyseccomp  # its import raises RuntimeError if the C library is missing

    rules = pyseccomp.SyscallFilter(pyseccomp.ERRNO(errno.EPERM))
    rules.set_attr(pyseccomp.Attr.ACT_BADARCH, pyseccomp.KILL_PROCESS)
    rules.set_attr(pyseccomp.Attr.CTL_OPTIMIZE, 2)  # a binary tree instead of a list of comparisons

    def add(action: int, name: str, *arguments: tuple[int, int, int]) -> None:
        number = pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name)
        if number != -1:  # a call unknown to this libseccomp is denied by default
            tests = [pyseccomp.Arg(at, pyseccomp.MASKED_EQ, mask, value) for at, mask, value in arguments]
            rules.add_rule(action, number, *tests)

    for name in _ALLOWED:
        add(pyseccomp.ALLOW, name)
    for name in _FATAL:
        add(pyseccomp.KILL_PROCESS, name)
    for family in set(_FAMILIES) - set(_ASKING_FAMILIES):
        add(pyseccomp.KILL_PROCESS, "socket", (0, 0xFFFFFFFF, family))
    for name, *arguments in _conditions():
        add(pyseccomp.ALLOW, name, *arguments)
    with os.fdopen(os.memfd_create("bpf"), "w+b") as file:
        rules.export_bpf(file)
        file.seek(0)
        return file.read()


def _conditions() -> list[tuple[str, *tuple[tuple[int, int, int], ...]]]:
    """Return calls that are allowed if argument & mask == value for each (argument, mask, value)."""
    every_bit = (1 << 64) - 1
    executable, writable = mmap.PROT_EXEC, mmap.PROT_WRITE
    anonymous = mmap.MAP_ANONYMOUS | _MAP_HUGETLB
    return [
        ("open", (1, _WRITING, 0)),
        ("openat", (2, _WRITING, 0)),
        # Shared anonymous memory, and huge pages of the machine's pool, belong to no process that could be charged for
        # them. The kernel counts mappings that grow as stacks, not as data. Shared mappings of files remain: files are
        # read-only.
        ("mmap", (2, executable, 0), (3, mmap.MAP_SHARED | _MAP_GROWSDOWN | _MAP_HUGETLB, 0)),
        ("mmap", (2, executable, 0), (3, anonymous, 0)),
        # Executable pages are mapped from read-only files only: no page is written and then executed.
        ("mmap", (2, executable | writable, executable), (3, mmap.MAP_ANONYMOUS, 0)),
        ("mprotect", (2, executable, 0)),
        # All sandboxes could wait on and wake a futex in a shared mapping of a library file.
        ("futex", (1, _FUTEX_PRIVATE_FLAG, _FUTEX_PRIVATE_FLAG)),
        # The processor time of another process reveals its activity. Its own clock, CLOCK_PROCESS_CPUTIME_ID, is
        # positive.
        *((name, (0, _PROCESS_CLOCK, 0)) for name in ("clock_gettime", "clock_getres", "clock_nanosleep")),
        # Called with another process's id, these reveal whether it exists.
        *((name, (0, 0xFFFFFFFF, 0)) for name in ("getpgid", "getsid", "sched_getaffinity")),
        *(("madvise", (2, 0xFFFFFFFF, advice)) for advice in _ADVICE),
        *(("fcntl", (1, every_bit, command)) for command in (_F_GETFD, _F_SETFD, _F_GETFL)),
        *(("ioctl", (1, 0xFFFFFFFF, request)) for request in (_TCGETS, _FIONCLEX, _FIOCLEX)),
        ("prlimit64", (0, every_bit, 0), (2, every_bit, 0)),  # reads this process's own limits only
        ("getrlimit",),
    ]


def load(program: bytes) -> None:
    """Enforce the compiled filter on this process, irrevocably. Needs no-new-privileges."""
    # The structure borrows the buffer, so both must live until the call returns.
    structure = _Program(len(program) // 8, program)
    syscalls.prctl(syscalls.PR_SET_SECCOMP, syscalls.SECCOMP_MODE_FILTER, ctypes.byref(structure))
