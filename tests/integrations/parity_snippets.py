"""Snippets over the Python that smolagents documents: those with equal results in both executors, and all others.

Each is a list of steps of one agent.
"""

from typing import NamedTuple

SAME = {
    # values and operators
    "integer": ["2 + 3 * 4"],
    "float": ["7 / 2"],
    "long_integer": ["2 ** 200"],
    "text": ["'a' + 'b' * 3"],
    "comparison_chain": ["1 < 2 < 3, 3 > 2 > 2"],
    "boolean_operators": ["[] or 'x', 0 and 1, not ''"],
    "bit_operators": ["6 & 3, 6 | 3, 6 ^ 3, ~6, 1 << 4, 256 >> 2"],
    "floor_and_modulo": ["-7 // 2, -7 % 3, divmod(17, 5)"],
    "ternary": ["'even' if 4 % 2 == 0 else 'odd'"],
    "membership": ["2 in [1, 2], 'z' not in 'abc', None is None"],
    "complex_number": ["(1 + 2j) * 2"],
    "none": ["None"],
    # containers
    "list": ["x = [3, 1, 2]\nx.append(5)\nsorted(x)"],
    "dict": ["d = {'a': 1}\nd['c'] = 3\nd.update(b=2)\nd"],
    "nested_dict": ["d = {'a': {'b': [1, {'c': None}]}}\nd['a']['b'][1]"],
    "dict_of_integers": ["{n: n * n for n in range(3)}"],
    "set": ["{1, 2, 3} & {2, 3, 4}"],
    "tuple": ["(1, 'a', 2.5)"],
    "slices": ["x = list(range(10))\nx[2:8:2], x[::-1][:2], 'hello'[-3:]"],
    "slice_assignment": ["x = [1, 2, 3, 4]\nx[1:3] = [9]\nx"],
    "unpacking": ["a, b = 1, (2, 3)\na, b"],
    "starred_in_calls": ["max(*[1, 5, 3])"],
    "delete": ["d = {'a': 1, 'b': 2}\ndel d['a']\nd"],
    "augmented_assignment": ["x = 5\nx += 2\nx *= 3\nx -= 1\nx"],
    # comprehensions and generators
    "list_comprehension": ["[x * x for x in range(6) if x % 2]"],
    "nested_comprehension": ["[[x * y for y in range(3)] for x in range(3)]"],
    "two_loops_in_comprehension": ["[(x, y) for x in range(2) for y in range(2)]"],
    "dict_comprehension": ["{k: len(k) for k in ['a', 'bb']}"],
    "set_comprehension": ["{x % 3 for x in range(10)}"],
    "generator_expression": ["sum(x * x for x in range(10))"],
    "map_and_filter": ["list(map(lambda x: x * 2, filter(lambda x: x > 1, [1, 2, 3])))"],
    "zip_and_enumerate": ["list(zip([1, 2], 'ab')), list(enumerate('ab'))"],
    # control flow
    "if_elif_else": ["x = 7\nif x < 5:\n    s = 'low'\nelif x < 10:\n    s = 'mid'\nelse:\n    s = 'high'\ns"],
    "for": ["total = 0\nfor x in range(10):\n    total += x\ntotal"],
    "for_over_dict": ["out = []\nfor k, v in {'a': 1, 'b': 2}.items():\n    out.append(k * v)\nout"],
    "break_and_continue": [
        "out = []\nfor x in range(10):\n    if x == 2:\n        continue\n"
        "    if x == 5:\n        break\n    out.append(x)\nout"
    ],
    "while": ["n, steps = 27, 0\nwhile n != 1:\n    n = n // 2 if n % 2 == 0 else 3 * n + 1\n    steps += 1\nsteps"],
    "nested_loops": ["out = []\nfor x in range(3):\n    for y in range(x):\n        out.append((x, y))\nout"],
    "assertion": ["assert 1 + 1 == 2\n'fine'"],
    "with_statement": [
        "class C:\n    def __enter__(self):\n        return 'inside'\n"
        "    def __exit__(self, *a):\n        return None\nwith C() as c:\n    r = c\nr"
    ],
    # functions and classes
    "function": ["def f(x, y=2):\n    return x + y\nf(1), f(1, 3), f(y=0, x=1)"],
    "recursion": ["def fact(n):\n    return 1 if n <= 1 else n * fact(n - 1)\nfact(20)"],
    "lambda": ["f = lambda x, k: x ** k\nf(2, 3)"],
    "closure": ["def outer(n):\n    def inner(x):\n        return x + n\n    return inner\nouter(3)(4)"],
    "function_as_argument": ["def twice(f, x):\n    return f(f(x))\ntwice(lambda x: x + 1, 0)"],
    "sorting_by_key": ["sorted(['bb', 'a', 'ccc'], key=lambda s: -len(s))"],
    "class": [
        "class Dog:\n    kind = 'dog'\n    def __init__(self, name):\n        self.name = name\n"
        "    def speak(self):\n        return f'{self.name} the {self.kind}'\nDog('Rex').speak()"
    ],
    "inheritance": [
        "class A:\n    def f(self):\n        return 'A'\nclass B(A):\n    def g(self):\n        return self.f() + 'B'\n"
        "B().g()"
    ],
    "property_by_method": ["class P:\n    def __init__(self):\n        self.v = 2\np = P()\np.v += 1\np.v"],
    "str_of_an_object": ["class P:\n    def __str__(self):\n        return 'a P'\nprint(P())\nstr(P())"],
    "docstring_in_function": ["def f():\n    '''Says one.'''\n    return 1\nf()"],
    # texts
    "f_string": ["x = 3.14159\nf'{x:.2f} and {x!r:>10} {1 + 1}'"],
    "text_methods": ["' Hello '.strip().lower().replace('l', 'L').split('e')"],
    "join": ["', '.join(str(x) for x in range(3))"],
    "raw_and_bytes": ["r'a\\n', b'ab'[0], 'é'.upper()"],
    # imports
    "import_math": ["import math\nmath.factorial(10), math.gcd(12, 18)"],
    "import_from": ["from math import pi, sqrt as root\nround(pi, 4), root(16)"],
    "import_collections": ["from collections import Counter\nCounter('abracadabra').most_common(2)"],
    "import_itertools": ["import itertools\nlist(itertools.combinations([1, 2, 3], 2))"],
    "import_datetime": ["import datetime\nstr(datetime.date(2024, 2, 29) + datetime.timedelta(days=1))"],
    "import_re": ["import re\nre.findall(r'\\d+', 'a1b22')"],
    "import_statistics": ["import statistics\nstatistics.median([1, 5, 2])"],
    "import_sympy": ["import sympy\nx = sympy.symbols('x')\nstr(sympy.solve(x**2 - 5*x + 6, x))"],
    "math_without_import": ["ceil(2.1), floor(2.9), sqrt(9), round(sin(0), 3), exp(0), degrees(0)"],
    # state
    "variables_live_on": ["x = 5\nx", "x * 2", "y = x + 1\nx, y"],
    "functions_live_on": ["def f(n):\n    return n + 1\nf(0)", "f(41)"],
    "imports_live_on": ["import math\n1", "math.sqrt(4)"],
    "variables_before_an_error_live_on": ["x = 1\nx = 2\n1 / 0", "x"],
    # prints
    "print": ["print('a')\nprint('b', 3)\n'done'"],
    "print_in_function": ["def f():\n    print('in f')\n    return 1\nf()"],
    "print_in_loop": ["for x in range(3):\n    print(x)\nNone"],
    "print_of_containers": ["print({'a': [1, None]}, (1,))"],
    "print_then_value": ["print('seen')\n2 + 2"],
    "nothing": ["pass\nNone"],
    # errors
    "division_by_zero": ["1 / 0"],
    "prints_before_an_error": ["print('before')\nx = 1 + None"],
    "type_error": ["'a' + 1"],
    "value_error": ["int('x')"],
    "raise": ["raise ValueError('mine')"],
    "assertion_that_fails": ["assert 1 == 2, 'not equal'"],
    "caught": ["try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    r = str(e)\nr"],
    "try_else_finally": [
        "out = []\ntry:\n    out.append(1)\nexcept ValueError:\n    out.append(2)\nelse:\n    out.append(3)\n"
        "finally:\n    out.append(4)\nout"
    ],
    "own_exception": [
        "class Oops(Exception):\n    pass\ntry:\n    raise Oops('x')\nexcept Oops as e:\n    r = 'caught ' + str(e)\nr"
    ],
    # tools
    "tool": ["add(2, 3)"],
    "tool_by_names": ["add(y=2, x=3.5)"],
    "tool_with_a_dictionary": ["add({'x': 1, 'y': 2})"],
    "tool_in_a_comprehension": ["[add(n, n) for n in range(4)]"],
    "tool_in_a_function": ["def f(n):\n    return add(n, 1) if n > 2 else f(add(n, 1))\nf(0)"],
    "tool_that_returns_a_dictionary": ["r = lookup('one')\nr['names'][1], r['value'] + 1"],
    "tool_that_raises": ["print('before')\nrefuse('no')"],
    "tool_whose_error_is_caught": ["try:\n    refuse('no')\nexcept ValueError as e:\n    r = str(e)\nr"],
    "tool_that_raises_a_key_error": ["lookup('two')"],
    "tool_as_argument": ["list(map(lambda n: add(n, 10), [1, 2]))"],
    "tools_in_several_steps": ["x = add(1, 1)\nx", "add(x, x)"],
    # final answer
    "final_answer": ["final_answer(42)"],
    "final_answer_by_name": ["final_answer(answer='x')"],
    "final_answer_of_a_tool": ["final_answer(add(1, 2))"],
    "final_answer_of_a_list": ["final_answer([1, (2, 3), {'a': None}])"],
    "final_answer_ends_the_snippet": ["print('before')\nfinal_answer(1)\nprint('after')"],
    "final_answer_past_except": ["try:\n    final_answer(1)\nexcept Exception:\n    print('caught')"],
    "final_answer_in_a_function": ["def f(x):\n    final_answer(x)\nf('deep')"],
    "final_answer_in_a_loop": ["for n in range(5):\n    if n == 3:\n        final_answer(n)"],
    "final_answer_after_steps": ["x = 20\nx", "final_answer(x + 1)"],
    "final_answer_of_an_array": ["import numpy as np\nfinal_answer(np.arange(3) * 0.5)"],
}


class Difference(NamedTuple):
    """Steps whose last result differs, with a part of each result and the reason in docs/smolagents.md."""

    steps: list[str]
    local: str
    ours: str
    why: str


_PYTHON = "Snippets run in CPython"
_LINE = "An error names the line"
_VALUE = "The value of a snippet is that of its last expression"
_IMPORTS = "The executor decides what may be imported"
_TEXT = "A value without a JSON representation is returned as text"
_TOOLS = "Names of tools can be assigned"
_END = "A bare `except:` catches the end of the snippet"
_UNSAFE = "Dunder names and builtins are allowed"

DIFFERENT = {
    "matrix_product": Difference(
        ["import numpy as np\n(np.eye(2) @ np.array([1, 2])).tolist()"],
        "MatMult is not implemented",
        "[1.0, 2.0]",
        _PYTHON,
    ),
    "dict_unpacking": Difference(["{'a': 1, **{'b': 2}}"], "NoneType is not supported", "{'a': 1, 'b': 2}", _PYTHON),
    "nested_unpacking": Difference(["a, (b, *c) = 1, (2, 3, 4)\nc"], "Cannot unpack tuple", "[3, 4]", _PYTHON),
    "walrus": Difference(["(n := 10) + n"], "NamedExpr is not supported", "20", _PYTHON),
    "defaults_beside_varargs": Difference(
        ["def f(x, y=2, *args):\n    return x + y + sum(args)\nf(1, 3, 4)"],
        "code snippet:\n12",
        "code snippet:\n8",
        _PYTHON,
    ),
    "lambda_with_a_default": Difference(["(lambda x, k=2: x ** k)(3)"], "`k` is not defined", "9", _PYTHON),
    "match": Difference(["match 1:\n    case 1:\n        r = 'one'\nr"], "Match is not supported", "one", _PYTHON),
    "global": Difference(["n = 0\ndef f():\n    global n\n    n = 1\nf()\nn"], "Global is not supported", "1", _PYTHON),
    "print_with_an_end": Difference(["print(1, end='!')"], "logs:\n1\nLast", "logs:\n1!Last", _PYTHON),
    "name_that_is_not_there": Difference(
        ["nothing"], "The variable `nothing` is not defined", "NameError: name", _PYTHON
    ),
    "index_that_is_not_there": Difference(
        ["[1][5]"], "Could not index [1] with '5': IndexError", "due to: IndexError: list index", _PYTHON
    ),
    "key_that_is_not_there": Difference(
        ["{'a': 1}['b']"], "Could not index {'a': 1}", "due to: KeyError: 'b'", _PYTHON
    ),
    "names_beside_keywords": Difference(
        ["def f(x, **kwargs):\n    return kwargs\nf(x=1, k=0)"], "{'x': 1, 'k': 0}", "{'k': 0}", _PYTHON
    ),
    "syntax_error": Difference(["x = = 1"], "Code parsing failed on line 1", "Code parsing failed on line 1", _LINE),
    "error_in_a_block": Difference(
        ["for x in [1, 0]:\n    1 / x"], "at line 'for x in [1, 0]:", "at line '1 / x' due to", _LINE
    ),
    "assignment": Difference(["x = 5"], "code snippet:\n5", "code snippet:\nNone", _VALUE),
    "last_value_of_a_loop": Difference(
        ["for x in range(3):\n    x * 2"], "code snippet:\n4", "code snippet:\nNone", _VALUE
    ),
    "refused_import": Difference(
        ["import os"], "Authorized imports are: [", "Authorized imports are: ['abc'", _IMPORTS
    ),
    "reason_of_a_refused_import": Difference(
        ["import os"], "Authorized imports are: [", "; a snippet has no files and no environment; assign", _IMPORTS
    ),
    "import_of_json": Difference(["import json\n1"], "Import of json is not allowed", "code snippet:\n1", _IMPORTS),
    "import_that_was_not_authorized": Difference(
        ["import scipy\n1"], "Import of scipy is not allowed", "code snippet:\n1", _IMPORTS
    ),
    "import_of_a_submodule": Difference(
        ["import numpy.linalg\n1"], "Import of numpy.linalg is not allowed", "code snippet:\n1", _IMPORTS
    ),
    "symbolic_answer": Difference(
        ["import sympy\nfinal_answer(sympy.sqrt(2))"],
        "code snippet:\nsqrt(2)\nsqrt(2)\n",
        "code snippet:\nsqrt(2)\n'sqrt(2)'\n",
        _TEXT,
    ),
    "date": Difference(
        ["from datetime import date\ndate(2024, 1, 2)"], "datetime.date(2024, 1, 2)", "'2024-01-02'", _TEXT
    ),
    "assignment_to_a_tool": Difference(["add = 1\nadd"], "Cannot assign to name 'add'", "code snippet:\n1", _TOOLS),
    "bare_except": Difference(
        ["try:\n    final_answer(1)\nexcept:\n    print('caught')"],
        "logs:\nLast output",
        "logs:\ncaught\nLast output",
        _END,
    ),
    "dunder": Difference(
        ["().__class__.__mro__[-1].__name__"], "Forbidden access to dunder attribute: __name__", "object", _UNSAFE
    ),
    "eval": Difference(["eval('1 + 1')"], "Forbidden function evaluation: 'eval'", "2", _UNSAFE),
}
