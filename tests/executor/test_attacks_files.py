"""Attacks on files: reading private files, and writing anything that outlives the snippet."""

import os
from pathlib import Path

import deepmath_executor
import pytest
from support.attacks import PRELUDE, is_killed, is_refused
from support.executor_process import SECRET
from support.world_readable import open_to_everyone

# These files do not exist at level full; at the other levels Landlock hides them.
HIDDEN = {
    "reads_passwords": "open('/etc/passwd').read()",
    "reads_password_hashes": "open('/etc/shadow').read()",
    "reads_a_service_account": "open('/var/run/secrets/kubernetes.io/serviceaccount/token').read()",
    "reads_the_command_line_of_process_1": "open('/proc/1/cmdline').read()",
    "reads_its_environment": "open('/proc/self/environ').read()",
    "reads_its_own_maps": "open('/proc/self/maps').read()",
    "reads_its_own_memory": "open('/proc/self/mem', 'rb').read(1)",
    "reads_the_root_of_process_1": "open('/proc/1/root/etc/passwd').read()",
    "reads_memory_of_process_1": "open('/proc/1/mem', 'rb').read(1)",
    "reads_the_environment_of_its_parent": "open(f'/proc/{os.getppid()}/environ').read()",
    "reads_its_program_by_a_link": "open('/proc/self/exe', 'rb').read(1)",
    "lists_proc": "os.listdir('/proc')",
    "lists_the_home_of_root": "os.listdir('/root')",
    "walks_up_from_the_library": "os.listdir(os.path.dirname(os.__file__) + '/../../../../..')",
    "walks_down_from_a_bare_path_descriptor": "os.open('etc/passwd', os.O_RDONLY, dir_fd=os.open('/', os.O_PATH))",
    "opens_with_libc": "checked(libc.open(b'/etc/passwd', 0))",
    "makes_a_temporary_file": "load('tempfile').TemporaryFile()",
    "reads_a_disk": "open('/dev/vda', 'rb').read(1)",
    "reads_kernel_memory": "open('/dev/mem', 'rb').read(1)",
    "reads_the_log_of_the_kernel": "open('/dev/kmsg', 'rb').read(1)",
    "opens_a_terminal": "open('/dev/tty', 'r')",
    "reads_with_numpy": "import numpy\nnumpy.fromfile('/etc/passwd')",
    "compiles_with_sympy": "import sympy\n"
    "from sympy.utilities.autowrap import autowrap\n"
    "autowrap(sympy.Symbol('x') + 1)",
    "opens_by_the_hook_for_code": "load('io').open_code('/etc/passwd')",
}
REFUSED = {
    "writes_its_own_memory": "os.open('/proc/self/mem', os.O_RDWR)",
    "opens_a_device_of_descriptors": "open('/dev/fd/1', 'w')",
    "lists_the_root": "os.listdir('/')",
    "lists_the_working_directory": "os.listdir('.')",
    "follows_a_link_it_reads": "os.readlink('/proc/self/exe')",
    "opens_with_openat2": "call(437, -100, b'/etc/passwd', b'\\0' * 24, 24)",
    "changes_directory_out": "os.chdir('..')\nopen('etc/passwd')",
    "changes_root_by_descriptor": "os.fchdir(os.open('/', os.O_PATH))",
    "writes_into_tmp": "open('/tmp/deepmath-attack', 'w')",
    "writes_into_shared_memory": "open('/dev/shm/deepmath-attack', 'w')",
    "writes_into_the_working_directory": "open('deepmath-attack', 'w')",
    "appends_to_the_library": "open(os.__file__, 'a')",
    "opens_the_library_for_reading_and_writing": "os.open(os.__file__, os.O_RDWR)",
    "truncates_while_reading": "os.open(os.__file__, os.O_RDONLY | os.O_TRUNC)",
    "creates_while_reading": "os.open('/tmp/deepmath-attack', os.O_RDONLY | os.O_CREAT)",
    "creates_by_the_old_call": "call(85, b'/tmp/deepmath-attack', 0o600)",
    "truncates_a_library_file": "os.truncate(os.__file__, 0)",
    "truncates_an_open_file": "os.ftruncate(os.open(os.__file__, os.O_RDONLY), 0)",
    "allocates_behind_a_file": "os.posix_fallocate(os.open(os.__file__, os.O_RDONLY), 0, 1 << 50)",
    "removes_a_library_file": "os.unlink(os.__file__)",
    "removes_a_folder": "os.rmdir(os.path.dirname(os.__file__))",
    "renames_a_library_file": "os.rename(os.__file__, '/tmp/os.py')",
    "makes_a_folder": "os.mkdir('/tmp/deepmath-attack')",
    "makes_a_deep_tree": "path = '/tmp/deepmath-attack'\nwhile True:\n    os.mkdir(path)\n    path += '/x'",
    "makes_a_folder_in_the_library": "os.mkdir(os.path.dirname(os.__file__) + '/attack')",
    "makes_a_symbolic_link": "os.symlink('/etc/passwd', '/tmp/deepmath-attack')",
    "makes_a_hard_link": "os.link(os.__file__, '/tmp/deepmath-attack')",
    "makes_a_fifo": "os.mkfifo('/tmp/deepmath-attack')",
    "makes_a_device": "os.mknod('/tmp/deepmath-attack', 0o60600, 0x0801)",
    "makes_a_nameless_file": "os.open(os.path.dirname(os.__file__), os.O_TMPFILE | os.O_WRONLY)",
    "makes_a_shared_memory_segment": "load('multiprocessing.shared_memory').SharedMemory(create=True, size=1)",
    "changes_a_mode": "os.chmod(os.__file__, 0o777)",
    "changes_an_owner": "os.chown(os.__file__, 0, 0)",
    "changes_times": "os.utime(os.__file__, (0, 0))",
    "sets_an_attribute": "os.setxattr(os.__file__, 'user.x', b'1')",
    "locks_a_library_file": "load('fcntl').flock(os.open(os.__file__, 0), 2)",
    "locks_a_part_of_a_library_file": "load('fcntl').lockf(os.open(os.__file__, 0), 1, 1, 0)",
    "watches_a_folder": "call(294, 0)",
    "leases_a_library_file": "load('fcntl').fcntl(os.open(os.__file__, 0), 1024, 0)",
    "copies_between_files": "os.sendfile(1, os.open(os.__file__, 0), 0, 10)",
    "splices_into_its_output": "os.splice(os.open(os.__file__, 0), 1, 10)",
    "triggers_the_kernels_keys": "open('/proc/sysrq-trigger', 'w')",
    "writes_a_core_pattern": "open('/proc/sys/kernel/core_pattern', 'w')",
    "writes_a_control_group": "open('/sys/fs/cgroup/cgroup.procs', 'w')",
    "types_into_its_terminal": "load('fcntl').ioctl(0, 0x5412, b'x')",
    "saves_with_numpy": "import numpy\nnumpy.savetxt('/tmp/deepmath-attack', [1])",
    "maps_a_file_with_numpy": "import numpy\nnumpy.memmap('/tmp/deepmath-attack', mode='w+', shape=1)",
}
KILLED = {
    "makes_a_memory_file": "os.memfd_create('code')",
    "makes_a_secret_memory_file": "call(447, 0)",
    "opens_by_handle": "call(304, -100, b'', 0)",
    "makes_a_handle": "call(303, -100, b'/', 0, 0, 0)",
    "watches_everything": "call(300, 0, 0)",
    "loads_a_disk_quota": "call(179, 0, 0, 0, 0)",
    "mounts": "libc.mount(b'none', b'/', b'tmpfs', 0, 0)",
    "unmounts": "libc.umount2(b'/', 2)",
    "changes_its_root": "os.chroot('/')",
    "pivots_its_root": "call(155, b'.', b'.')",
    "clones_a_mount": "call(428, -100, b'/', 1)",
    "moves_a_mount": "call(429, -100, b'/', -100, b'/', 0)",
    "remounts_writable": "call(442, -100, b'/', 0, b'\\0' * 32, 32)",
    "opens_a_file_system": "call(430, b'proc', 0)",
    "picks_a_file_system": "call(433, -100, b'/', 0)",
    "swaps_on_a_file": "call(167, os.__file__.encode(), 0)",
    "accounts_into_a_file": "call(163, os.__file__.encode())",
}
FOLDERS_TO_WRITE = ["/tmp", "/var/tmp", "/dev/shm", "/run", "/home", "/root", "/proc/self", "/", "."]


@pytest.fixture(autouse=True)
def assert_host_unchanged():
    """Assert that a library file is unchanged and no file appeared where an attack may have written."""
    library = Path(os.__file__)

    def snapshot() -> tuple[object, ...]:
        status = library.stat()
        attack = [place for place in ("/tmp", "/dev/shm", "/") if Path(place, "deepmath-attack").exists()]
        return status.st_size, status.st_mtime_ns, status.st_mode, status.st_nlink, status.st_uid, attack

    before = snapshot()
    yield
    assert snapshot() == before


@pytest.mark.parametrize("name", HIDDEN)
async def test_host_file_is_not_readable(attacker, name):
    is_refused(await attacker.run(HIDDEN[name], wall_ms=5000), "FileNotFoundError", "PermissionError")


@pytest.mark.parametrize("name", REFUSED)
async def test_file_change_is_refused(attacker, name):
    is_refused(await attacker.run(REFUSED[name], wall_ms=5000), "PermissionError")


@pytest.mark.parametrize("name", KILLED)
async def test_system_call_that_changes_file_systems_kills(attacker, name):
    is_killed(await attacker.run(KILLED[name], wall_ms=5000))


@pytest.fixture
def open_file(tmp_path):
    """A file that every user of the machine may read and write."""
    open_to_everyone(tmp_path, 0o777)
    file = tmp_path / "file"
    file.write_text(SECRET)
    file.chmod(0o666)
    return file


async def test_world_readable_file_is_not_readable(attacker, open_file):
    is_refused(await attacker.run(f"open({str(open_file)!r}).read()"), "FileNotFoundError", "PermissionError")


async def test_world_writable_file_is_not_writable(attacker, open_file):
    is_refused(await attacker.run(f"open({str(open_file)!r}, 'w').write('attack')"), "PermissionError")
    assert open_file.read_text() == SECRET


async def test_world_writable_folder_is_not_writable(attacker, open_file):
    is_refused(await attacker.run(f"os.mkdir({str(open_file.parent / 'attack')!r})"), "PermissionError")
    assert list(open_file.parent.iterdir()) == [open_file]


async def test_host_fifo_cannot_be_opened(attacker, open_file):
    fifo = open_file.parent / "fifo"
    os.mkfifo(fifo, 0o666)
    is_refused(await attacker.run(f"os.open({str(fifo)!r}, os.O_RDONLY)"), "FileNotFoundError", "PermissionError")


async def test_host_symlink_is_not_followed(attacker, open_file):
    link = open_file.parent / "link"
    link.symlink_to(open_file)
    is_refused(await attacker.run(f"open({str(link)!r}).read()"), "FileNotFoundError", "PermissionError")


async def test_service_code_is_not_readable(attacker):
    code = Path(deepmath_executor.__file__).with_name("session.py")
    is_refused(await attacker.run(f"open({str(code)!r}).read()"), "FileNotFoundError", "PermissionError")


async def test_service_log_is_not_readable(attacker):
    log = attacker.executor.log
    is_refused(await attacker.run(f"open({str(log)!r}).read()"), "FileNotFoundError", "PermissionError")


async def test_supervisor_memory_is_not_readable(attacker):
    memory = f"/proc/{attacker.executor.pid}/mem"
    is_refused(await attacker.run(f"open({memory!r}, 'rb').read(1)"), "FileNotFoundError", "PermissionError")


async def test_supervisor_descriptors_are_not_listable(attacker):
    folder = f"/proc/{attacker.executor.pid}/fd"
    is_refused(await attacker.run(f"os.listdir({folder!r})"), "FileNotFoundError", "PermissionError")


async def test_no_folder_is_writable(attacker):
    attempt = f"""
written = []
for place in [*{FOLDERS_TO_WRITE}, *sys.path, os.path.dirname(os.__file__)]:
    try:
        os.close(os.open(place + "/deepmath-attack", os.O_WRONLY | os.O_CREAT))
        written.append(place)
    except OSError:
        pass
written
"""
    assert (await attacker.run(attempt)).value == "[]"


async def test_module_outside_the_installation_is_not_loaded(attacker, open_file):
    open_file.with_name("deepmath_attack.py").write_text("print('loaded')")
    code = f"sys.path.insert(0, {str(open_file.parent)!r})\nload('deepmath_attack')"
    is_refused(await attacker.run(code), "ModuleNotFoundError", "PermissionError")


async def test_shared_library_outside_the_installation_is_not_loaded(attacker, open_file):
    is_refused(await attacker.run(f"ctypes.CDLL({str(open_file)!r})"), "OSError")


async def test_no_foreign_descriptor_is_inherited(attacker):
    assert (await attacker.run("[n for n in range(4, 1024) if libc.fcntl(n, 1) != -1]")).value == "[]"


async def test_standard_input_is_empty(attacker):
    assert (await attacker.run("os.read(0, 10)")).value == "b''"


async def test_open_files_are_closed_with_the_session(attacker):
    hoard = PRELUDE + "keep = [open(os.__file__) for _ in range(100)]"
    result = await attacker.run(hoard)
    assert (result.exception.type, result.exception.message[:10]) == ("OSError", "[Errno 24]"), result
    assert (await attacker.run("len([open(os.__file__) for _ in range(5)])")).value == "5"
