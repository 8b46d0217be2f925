r"""Model-written text as HTML: mathematics is typeset, and all markup is inert."""

from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.linear_time import assert_linear

from deepmath.evaluation.html_typesetting import code, mathematics, plain, prose

HARMLESS = {
    "math",
    "span",
    *(f"m{name}" for name in "row i n o text space frac sqrt root style padded phantom".split()),
}
HARMLESS |= {f"m{name}" for name in "sub sup subsup under over underover table tr td enclose".split()}
HARMLESS |= {"mmultiscripts", "mprescripts"}


class Elements(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(str(text))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


def is_inert(text: str) -> bool:
    found = Elements(text)
    return (
        found.tags <= HARMLESS
        and not any(name.startswith("on") for name in found.attributes - {"notation"})
        and not (found.attributes & {"href", "style", "src"})
    )


@pytest.mark.parametrize(
    "text",
    [r"$\frac12$", r"\(\frac12\)", r"\[\frac12\]", r"$$\frac12$$", r"so \boxed{\frac{1}{2}}.", r"\[\dfrac{1}{2}\]"],
)
def test_mathematics_in_any_delimiters_is_typeset(text: str) -> None:
    assert "<mfrac><" in prose(text)


def test_surrounding_text_is_kept_and_special_tokens_are_removed() -> None:
    found = Elements(prose("<think>Let a < b.\nSo $x$ is it.</think><|im_end|>"))
    assert found.text == "Let a < b.\nSo x is it."


@pytest.mark.parametrize("text", ["It costs $5 and $6.", "a $ b", r"\$5 and \$6", "$$", r"\boxed{", r"\[ \] \( \)"])
def test_text_without_mathematics_is_unchanged(text: str) -> None:
    assert Elements(prose(text)).text == text
    assert not Elements(prose(text)).tags


@pytest.mark.parametrize(
    "latex", [r"\frac{", "{" * 900, "x^2^2", "x" * 5000, r"\begin{matrix}" * 50, "", r"\left(" * 150]
)
def test_latex_that_cannot_be_typeset_is_shown_as_plain_text(latex: str) -> None:
    assert mathematics(latex) == latex


def test_aligned_equations_become_a_table() -> None:
    assert "<mtable" in prose(r"\[\begin{aligned}a&=b\\c&=d\end{aligned}\]")


ATTACKS = [
    "<script>alert(1)</script>",
    r"\text{<script>alert(1)</script>}",
    r"\text{&lt;script&gt;alert(1)&lt;/script&gt;}",
    r"\href{javascript:alert(1)}{x}",
    r"\style{background:url(//evil)}{x}",
    r"\color{red\" onload=\"alert(1)}{y}",
    r"\mathrm{<img src=x onerror=alert(1)>}",
    r"\operatorname{</math><script>alert(1)</script>}",
    r"\unknown<script>",
    "</pre></details><script>alert(1)</script>",
    "\x00<scr\x00ipt>",
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_markup_is_inert_in_any_position(attack: str) -> None:
    for text in (
        prose(attack),
        prose(f"${attack}$"),
        prose(rf"\boxed{{{attack}}}"),
        mathematics(attack),
        plain(attack),
    ):
        assert is_inert(text), text
    assert is_inert(code(attack)), code(attack)


pieces = st.sampled_from(
    [*ATTACKS, "$", "{", "}", r"\frac", "^", "_", "&", r"\\", r"\text{", r"\begin{matrix}", "<", '"', "'"]
)


@settings(deadline=None)
@given(st.lists(pieces | st.text(max_size=3), max_size=8).map("".join))
def test_arbitrary_text_is_inert(text: str) -> None:
    for shown in (prose(text), mathematics(text), code(text), plain(text)):
        assert is_inert(shown), shown


def test_code_is_highlighted() -> None:
    assert '<span class="kn">import</span>' in code("import math")


@pytest.mark.parametrize(
    "unit", ["$x$ ", "$", r"\[", r"\(x", r"\boxed{", r"\boxed{{}", r"\boxed{5}", "<|a", "</think>"]
)
def test_time_is_linear_in_hostile_text(unit: str) -> None:
    assert_linear(lambda text: prose(text[: len(text) // 5]), unit)


@pytest.mark.parametrize("piece", ["\t\n", 'u"\\N{', '"%', "x="])
def test_long_code_is_not_highlighted(piece: str) -> None:
    """Pygments takes half a minute for 10 000 lines with a tab."""
    source = piece * (20_000 // len(piece))
    assert code(source) == plain(source)
