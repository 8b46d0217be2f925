"""What an attacker sees who looks around: nothing of the host, of the service, or of who else is there.

The attacks themselves are in test_attacks_*.py, a file for each kind.
"""

import os
import sys
from pathlib import Path

import pytest
from support.executor_process import SECRET


async def test_environment_of_a_snippet_holds_no_secret(attacker):
    result = await attacker.run("dict(os.environ)")
    assert "PYTHONHASHSEED" in result.value
    assert SECRET not in result.value


async def test_arguments_of_the_process_are_not_told(attacker):
    assert (await attacker.run("sys.argv, sys.orig_argv")).value == "([''], [''])"


async def test_memory_of_a_snippet_holds_no_secret_of_the_service(attacker):
    search = f"""
g = load("gc")
half, rest = {SECRET[:4]!r}, {SECRET[4:]!r}
[o for o in g.get_objects() for t in (o.values() if type(o) is dict else ()) if type(t) is str and t == half + rest]
"""
    assert (await attacker.run(search)).value == "[]"


@pytest.mark.parametrize("limit", ["RLIMIT_CORE", "RLIMIT_FSIZE", "RLIMIT_NPROC", "RLIMIT_MEMLOCK", "RLIMIT_MSGQUEUE"])
async def test_limit_of_what_a_snippet_needs_none_of_is_zero(attacker, limit):
    assert (await attacker.run(f"r = load('resource')\nr.getrlimit(r.{limit})")).value == "(0, 0)"


async def test_snippet_is_nobody(small_executor):
    ids = "import random\nos = random._os\nos.getuid(), os.geteuid(), os.getgid(), os.getegid(), os.getgroups()"
    assert (await small_executor.execute(ids)).value == "(65534, 65534, 65534, 65534, [])"


async def test_modules_that_would_speak_to_clients_are_not_loaded(attacker):
    assert (await attacker.run("[name for name in sys.modules if name.startswith(('grpc', 'google'))]")).value == "[]"


async def test_traceback_names_no_path_of_the_host(attacker):
    result = await attacker.run("load('json').loads('{')")
    assert "JSONDecodeError" in result.exception.traceback
    assert "/" not in result.exception.traceback


async def test_warning_names_no_path_of_the_host(attacker):
    result = await attacker.run("import numpy\nnumpy.log(0)\nload('warnings').warn('attack', stacklevel=2)")
    assert "RuntimeWarning" in result.stderr
    assert "/" not in result.stderr


async def test_name_of_the_host_is_not_told(small_executor):
    result = await small_executor.execute("import random\nrandom._os.uname().nodename")
    assert result.value == "'sandbox'"


async def test_number_of_processes_is_not_told(small_executor):
    """At level full the pid namespace is the sandboxes' own: its numbers are small."""
    result = await small_executor.execute("import random\nrandom._os.getpid() < 100_000, random._os.getppid()")
    assert result.value == "(True, 1)"


async def test_root_of_a_sandbox_is_bare(small_executor):
    installation = [*Path(sys.prefix).parents, *Path(sys.base_prefix).parents]  # these have to be there
    places = [place for place in ("/etc", "/proc", "/dev", "/home", "/tmp", "/sys") if Path(place) not in installation]
    code = f"import random\n[place for place in {places} if random._os.path.exists(place)]"
    assert (await small_executor.execute(code)).value == "[]"


async def test_folder_of_the_tests_is_not_there_at_level_full(small_executor):
    code = f"import random\nrandom._os.path.exists({os.fspath(Path(__file__).parent)!r})"
    assert (await small_executor.execute(code)).value == "False"
