"""The import list: every standard module is allowed, or refused with a reason."""

import sys
from collections import Counter

import pytest

from deepmath.sandbox.allowed_modules import ALLOWED_MODULES, LIBRARIES, PROMPT_MODULES, STANDARD_MODULES
from deepmath.sandbox.import_policy import ImportPolicy
from deepmath.sandbox.refused_modules import REFUSED_MODULES, find_refusal

# Names that another supported version has: `sys.stdlib_module_names` of 3.11, 3.12 and 3.13.
NAMES_OF_3_11 = """
    aifc asynchat asyncore audioop cgi cgitb chunk crypt distutils imghdr imp lib2to3 mailcap msilib nis nntplib
    ossaudiodev pipes smtpd sndhdr spwd sunau telnetlib uu xdrlib _bootsubprocess _crypt _msi _sha256 _sha512
""".split()
NAMES_OF_3_13 = """
    _android_support _apple_support _colorize _interpchannels _interpqueues _interpreters _ios_support _opcode_metadata
    _pydatetime _pylong _pyrepl _sha2 _suggestions _sysconfig _wmi
""".split()
STANDARD_NAMES = sorted({*sys.stdlib_module_names, *NAMES_OF_3_11, *NAMES_OF_3_13} - {"__future__"})
# Modules that real models import.
WANTED = """
    bisect collections copy dataclasses datetime decimal enum fractions functools heapq itertools json math networkx
    operator queue random re statistics string sys time typing unicodedata
""".split()
FORBIDDEN = """
    os pathlib shutil tempfile subprocess socket urllib ctypes multiprocessing threading concurrent asyncio signal
    tkinter importlib builtins2
""".split()

policy = ImportPolicy(ALLOWED_MODULES)


@pytest.mark.parametrize("name", STANDARD_NAMES)
def test_standard_module_is_either_allowed_or_refused_with_a_reason(name: str) -> None:
    assert (name in STANDARD_MODULES) != (find_refusal(name) is not None)


def test_no_module_is_listed_twice() -> None:
    listed = Counter([*ALLOWED_MODULES, *(name for entry in REFUSED_MODULES for name in entry.names)])
    assert [name for name, count in listed.items() if count > 1] == []


def test_allowed_standard_modules_exist_in_every_supported_version() -> None:
    assert set(STANDARD_MODULES) <= sys.stdlib_module_names - set(NAMES_OF_3_11)


@pytest.mark.parametrize("name", [*WANTED, *LIBRARIES, *PROMPT_MODULES])
def test_useful_module_is_allowed(name: str) -> None:
    assert policy.refuse(name) is None
    assert policy.refuse(f"{name}.part") is None


@pytest.mark.parametrize("name", FORBIDDEN)
def test_module_that_needs_more_than_computing_is_refused(name: str) -> None:
    assert str(policy.refuse(name)).startswith(f"module '{name}' may not be imported here")
    assert str(policy.refuse(f"{name}.part")).startswith(f"module '{name}' may not be imported here")


@pytest.mark.parametrize("entry", REFUSED_MODULES, ids=lambda entry: min(entry.names))
def test_refusal_says_why_and_what_to_do_instead(entry) -> None:
    for name in entry.names:
        rest = f"may not be imported here: {entry.reason}; {entry.advice}"
        assert str(policy.refuse(name)) == f"module {name!r} {rest}"


def test_unknown_module_is_refused_with_the_libraries_that_are_there() -> None:
    assert str(policy.refuse("pandas")) == (
        "module 'pandas' may not be imported here; allowed modules: mpmath, networkx, numpy, scipy, sympy, and every "
        "module of the standard library that only computes"
    )


def test_own_list_is_named_in_full() -> None:
    assert "; allowed modules: math, numpy" in str(ImportPolicy(["numpy", "math"]).refuse("random"))


def test_listed_module_is_allowed_whatever_the_reason_against_it() -> None:
    assert ImportPolicy([*ALLOWED_MODULES, "os"]).refuse("os.path") is None
