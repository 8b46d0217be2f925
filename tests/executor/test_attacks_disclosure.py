"""Information disclosure: a snippet learns nothing about the host, the service or other sessions.

The other test_attacks_*.py files hold one kind of attack each.
"""

import os
import sys
from pathlib import Path

import pytest
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


async def test_host_name_is_hidden(small_executor):
    result = await small_executor.execute("import random\nrandom._os.uname().nodename")
    assert result.value == "'sandbox'"


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
