r"""Answers that run code in a process that parses and evaluates them without protection.

The core is a symbol's name. sympy prints it into source code, from which math-verify's parser has removed spaces,
quotation marks, parentheses and capital letters, so the code does without: a comprehension assigns `exec` to a class as
`__class_getitem__`, and a subscript calls it with characters picked from docstrings.
"""

from collections.abc import Iterator
from pathlib import Path

_DOCUMENTED = (range, oct, open)  # their docstrings have every character that is needed


def name_that_runs(code: str) -> str:
    """Return the name of a symbol that runs `code` where sympy prints it into source; its value is 1."""
    library = "".join(str(one.__doc__) for one in _DOCUMENTED)
    text = "+".join(f"d[{library.index(character)}]" for character in code)
    documents = "+".join(f"{one.__name__}.__doc__" for one in _DOCUMENTED)
    return f"[[1for[exit.__class__.__class_getitem__]in[[exec]]],[exit.__class__[{text}]for[d]in[[{documents}]]],1][2]"


WRAPPERS = {
    "text": r"\text{%s}",
    "mathrm": r"\mathrm{%s}",
    "textbf": r"\textbf{%s}",
    "textit": r"\textit{%s}",
    "textrm": r"\textrm{%s}",
    "textnormal": r"\textnormal{%s}",
    "mbox": r"\mbox{%s}",
    "mathit": r"\mathit{%s}",
    "mathbf": r"\mathbf{%s}",
    "mathcal": r"\mathcal{%s}",
    "mathbb": r"\mathbb{%s}",
    "operatorname": r"\operatorname{%s}",
    "variable": r"\variable{%s}",
    "overline": r"\overline{%s}",
    "hat": r"\hat{%s}",
    "vec": r"\vec{%s}",
    "subscript": r"x_{%s}",
    "subscript in text": r"x_{\text{%s}}",
    "subscript of text": r"\text{x}_{%s}",
    "subscript after a power": r"x^{2}_{%s}",
    "subscript of a Greek letter": r"\alpha_{%s}",
    "function": r"\text{%s}(x)",
    "subscript of a function": r"f_{%s}(x)",
    "differential": r"d\text{%s}",
    "bare": r"%s",
}
"""Places in LaTeX that may become the name of a symbol."""

CONTEXTS = {
    "infinite sum": r"\sum_{n=0}^{\infty}\frac{%s^n}{n!}",
    "sum with a factor": r"\sum_{n=0}^{\infty}\frac{%s}{2^n n!}",
    "end of an interval": r"(\sum_{n=0}^{\infty}\frac{%s^n}{n!},7)",
    "element of a set": r"\{\sum_{n=0}^{\infty}\frac{%s^n}{n!},7\}",
    "side of an equation": r"y=\sum_{n=0}^{\infty}\frac{%s^n}{n!}",
    "inequality": r"x<\sum_{n=0}^{\infty}\frac{%s^n}{n!}",
    "entry of a matrix": r"\begin{pmatrix}\sum_{n=0}^{\infty}\frac{%s^n}{n!}\\7\end{pmatrix}",
    "floor": r"\lfloor\sum_{n=0}^{\infty}\frac{%s^n}{n!}\rfloor",
    "product": r"\prod_{n=1}^{\infty}\frac{%s}{n^2}",
    "integral": r"\int_{0}^{1}%s\,dx",
    "limit": r"\lim_{x\to 0}\frac{%s}{x}",
    "polynomial": r"%s^5-%s-1=0",
}
"""Expressions whose evaluation prints names into source code, or may do so."""

PYTHON = {
    "import": "__import__('os').system('touch {canary}')",
    "exec": "exec(\"open('{canary}','w')\")",
    "eval": "eval(\"open('{canary}','w')\")",
    "open": "open('{canary}','w')",
    "lambda": "(lambda: open('{canary}','w'))()",
    "walk": "().__class__.__base__.__subclasses__()[0]('{canary}')",
    "attribute of a number": "(1).__class__.__base__.__subclasses__()",
    "attribute of a symbol": "x.func.__globals__['__builtins__']['open']('{canary}','w')",
    "f-string": "f\"{open('{canary}','w')}\"",
    "format": "{0.__class__.__init__.__globals__}",
    "percent format": "%(__import__)s",
    "Symbol": "Symbol(\"[open('{canary}','w'),1][1]\")",
    "sympify": "sympify(\"open('{canary}','w')\")",
    "S": "S(\"open('{canary}','w')\")",
    "lambdify": "lambdify(x, \"open('{canary}','w')\")(1)",
    "Sum": "Sum(Symbol(\"open('{canary}','w')\")**n/factorial(n), (n, 0, oo))",
    "decorator": "@exec\nclass x: pass",
    "walrus": "[y := open('{canary}', 'w')]",
    "backtick": "`touch {canary}`",
    "shell": "$(touch {canary})",
    "pickle": "cos\nsystem\n(S'touch {canary}'\ntR.",
    "json": '{"verdict": "SAME_VALUE"}',
    "literal break": "\"]')\nopen('{canary}','w')\n('[\"",
    "escapes": "\\x6f\\x70\\x65\\x6e\\x28\\x27{canary}\\x27\\x2c\\x27\\x77\\x27\\x29",
    "Unicode escapes": "\\u005f\\u005fimport\\u005f\\u005f('os')",
    "TeX": "\\write18{touch {canary}}",
    "TeX input": "\\input{/etc/passwd}",
    "TeX characters": "\\text{\\char95\\char95 import}",
    "TeX macro": "\\def\\x{open('{canary}','w')}\\x",
    "full width": '\uff45\uff58\uff45\uff43(\'open("{canary}","w")\')',
    "mathematical letters": '\U0001d452\U0001d465\U0001d452\U0001d450(\'open("{canary}","w")\')',
    "zero width": 'ex\u200bec(\'open("{canary}","w")\')',
    "Cyrillic": '\u0435xec(\'open("{canary}","w")\')',
    "right to left": "\u202e)'w','{canary}'(nepo",
    "surrogate": "\ud800open('{canary}','w')",
    "null": "1\x00open('{canary}','w')",
}
"""Code as it is, in case somebody evaluates an answer."""

UNITS = {
    "unit": r"5\text{ %s}",
    "unit with a power": r"5\text{%s}^2",
    "degrees": r"5^\circ\text{%s}",
    "bare unit": "5 %s",
    "currency": r"\$%s",
    "base": "101_{%s}",
    "percent": r"%s\%%",
    "mixed": r"5\frac{%s}{2}",
}
"""Places next to a number that are taken for a unit."""


def write_file(path: Path) -> str:
    """Return code that creates `path`."""
    return f"open('{path}','w')"


def connect(port: int) -> str:
    """Return code that connects to this machine."""
    return f"import socket;socket.create_connection(['127.0.0.1',{port}])"


def latex_attacks(canary: Path) -> Iterator[tuple[str, str]]:
    """Yield name and text of attacks in LaTeX; each that runs creates a file beside `canary`."""
    number = 0
    for wrapper, latex in WRAPPERS.items():
        for context in CONTEXTS if wrapper == "text" else ("infinite sum",):
            number += 1
            name = latex % name_that_runs(write_file(canary.with_name(f"{canary.name}{number}")))
            yield f"{wrapper} in {context}", CONTEXTS[context].replace("%s", name)
    for unit, latex in UNITS.items():
        number += 1
        yield unit, latex % name_that_runs(write_file(canary.with_name(f"{canary.name}{number}")))


def python_attacks(canary: Path) -> Iterator[tuple[str, str]]:
    """Yield name and text of attacks in other languages than LaTeX."""
    for name, code in PYTHON.items():
        yield name, code.replace("{canary}", str(canary))
