"""Top-level modules that a snippet may import by default: libraries, and the standard modules that only compute.

`refused_modules.py` lists the other standard modules, with the reason for each. A test ensures that every name of
`sys.stdlib_module_names` is in one of the two files.
"""

LIBRARIES = ("mpmath", "networkx", "numpy", "scipy", "sympy")
PLOT_LIBRARIES = ("matplotlib", "mpl_toolkits")
"""Allowed too where matplotlib is preloaded."""

# A module that can also read a file, such as `json`, is here if most of its uses compute with values in memory.
STANDARD_MODULES = tuple(
    """
    abc argparse array ast base64 binascii bisect builtins bz2 cProfile calendar cmath codecs codeop collections
    colorsys configparser contextlib contextvars copy copyreg csv dataclasses datetime decimal difflib dis doctest email
    encodings enum errno fnmatch fractions functools gc getopt graphlib gzip hashlib heapq hmac html inspect io
    ipaddress itertools json keyword locale logging lzma marshal math numbers opcode operator optparse pickle
    pickletools plistlib pprint profile pstats pyexpat queue quopri random re reprlib sched secrets shlex stat
    statistics string stringprep struct symtable sys textwrap this time timeit token tokenize tomllib traceback
    tracemalloc types typing unicodedata unittest uuid warnings weakref xml zlib
    """.split()
)

ALLOWED_MODULES = tuple(sorted({*LIBRARIES, *STANDARD_MODULES}))

PROMPT_MODULES = (
    *("bisect", "cmath", "collections", "copy", "datetime", "decimal", "fractions", "functools", "heapq", "itertools"),
    *("math", "mpmath", "networkx", "numpy", "operator", "random", "re", "scipy", "statistics", "string", "sympy"),
)
"""The allowed modules that a prompt names, since they help with mathematics."""


def describe_modules(allowed: frozenset[str]) -> str:
    """Return `allowed` as a list for an error message: standard modules in one phrase if all of them are in it."""
    if not allowed >= set(STANDARD_MODULES):
        return ", ".join(sorted(allowed)) or "none"
    others = sorted(allowed - set(STANDARD_MODULES))
    return ", ".join([*others, "and every module of the standard library that only computes"])
