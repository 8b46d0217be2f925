"""Top-level modules that a snippet may import by default. Prompts list them too."""

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
