"""Python source of a call: what models write around the code is removed, and the code itself stays as it is."""

import ast
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.linear_time import assert_linear

from deepmath.dialects.call_code import python_source

FENCED = "```python\nprint(1)\n```"


@pytest.mark.parametrize(
    ("call", "code"),
    [
        ("\n1+1\n", "1+1"),
        ("", ""),
        (" \n\t\n ", ""),
        (f"\n{FENCED}\n", "print(1)"),
        (f"Let me compute:\n{FENCED}\nThat's it.", "print(1)"),
        ("```py\nprint(1)", "print(1)"),
        ("```\nprint(1)\n```", "print(1)"),
        ("```Python3\nprint(1)\n```", "print(1)"),
        ("``` {.python}\nprint(1)\n```", "print(1)"),
        ("~~~python\nprint(1)\n~~~", "print(1)"),
        ("````python\ns = '''\n```\n'''\n````", "s = '''\n```\n'''"),
        ("print(1)\n```\n", "print(1)"),
        ("```python\na = 1\n```\nthen\n```python\na\n```", "a = 1\na"),
        ("```python\n1\n```\n```output\n1\n```", "1"),
        ("```text\nwords\n```", "```text\nwords\n```"),
        ('s = """\n```python\nevil()\n```\n"""\ns', 's = """\n```python\nevil()\n```\n"""\ns'),
        ("```\n```", "```\n```"),
        ("python\nprint(1)", "print(1)"),
        ("\nPython\n\nprint(1)", "print(1)"),
        ("python", "python"),
        ("\n    x = 1\n    x", "x = 1\nx"),
        (" x = 1\nx", "x = 1\nx"),
        ("    for i in r:\n        i", "for i in r:\n    i"),
        ("\tif x:\n\t\ty\n \n\tz", "if x:\n\ty\n\nz"),
        ("  ```python\n  x = 1\n  ```", "x = 1"),
        ("x = 1\r\nif x:\r\n    x", "x = 1\nif x:\n    x"),
        ("```python\r\nx\r\n```\r\n", "x"),
        ("print('\x0c\u2028\x85')", "print('\x0c\u2028\x85')"),
        ("s = '''a\n   \nb'''", "s = '''a\n   \nb'''"),
        ("# </think> <|im_start|>\n1", "# </think> <|im_start|>\n1"),
        ("x = ~~~1", "x = ~~~1"),
    ],
)
def test_code_of_a_call(call: str, code: str) -> None:
    assert python_source(call) == code


PROGRAMS = [
    "x = 1\nx",
    "for i in range(3):\n    print(i)\n\nprint('''a\n``` b''')",
    "def f():\n\treturn 1\n\nf()",
    "'é'",
]
ENDS = ["\n", "\r\n"]


@given(
    st.sampled_from(PROGRAMS),
    st.sampled_from(["", "    ", "\t", "  "]),
    st.sampled_from(["", "python\n", "```python\n", "```py\n", "~~~python\n", "Now:\n\n```python3\n"]),
    st.booleans(),
    st.sampled_from(ENDS),
)
def test_wrapped_programs_mean_the_same(program: str, indent: str, opening: str, closed: bool, end: str) -> None:
    fence = opening.strip().rpartition("\n")[2][:3] if "p" not in opening.strip().rpartition("\n")[2][:3] else ""
    call = opening + textwrap.indent(program, indent, lambda line: True) + "\n" + (fence if closed else "")
    code = python_source(call.replace("\n", end))
    assert ast.dump(ast.parse(textwrap.dedent(code))) == ast.dump(ast.parse(code))
    if "'''" not in program:
        assert ast.dump(ast.parse(code)) == ast.dump(ast.parse(program))


@given(st.text(st.sampled_from(list("ab=1()\n #'\"")), max_size=60).filter(lambda text: text[:1].strip()))
def test_plain_code_is_unchanged_but_for_blank_lines_around_it(text: str) -> None:
    assert python_source(f"\n{text}\n") == text.strip("\n")


UNITS = ["```\n", "```python\n", "~~~\n", "`", '"""\n', " ", "\n", " \n", "  x\n", "python\n", "\r\n"]


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("start", ["", "x\n", "```python\n"])
def test_time_is_linear_in_hostile_text(start: str, unit: str) -> None:
    assert_linear(lambda text: python_source(start + text), unit)
