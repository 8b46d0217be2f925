"""The modules that a snippet may import: what prompts promise and the executor allows."""

ALLOWED_MODULES = (
    "cmath",
    "collections",
    "datetime",
    "decimal",
    "fractions",
    "functools",
    "itertools",
    "math",
    "mpmath",
    "numpy",
    "random",
    "re",
    "scipy",
    "statistics",
    "string",
    "sympy",
)
