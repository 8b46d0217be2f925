"""The HTML report: self-contained, with inert model-written text."""

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from support.evaluation_runs import OK, of_answers, sample, write

from deepmath.evaluation.evaluation_report import EvaluationReport
from deepmath.evaluation.graded_sample import GradedSample
from deepmath.evaluation.published_results import PublishedResult, PublishedResults
from deepmath.grading.verifier import Verifier

ATTACK = "</pre></details></script><script>alert(1)</script><img src=x onerror=alert(1)>"
PUBLISHED = PublishedResults(
    "a blog", rows=(PublishedResult("DeepMath", "synthetic", 91.0, 50.0),), claims=(("66 % shorter", "a card"),)
)


class Page(HTMLParser):
    """Elements with their attributes, and the text in `pre` and `details`."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def all(self, tag: str, **attributes: str) -> list[dict[str, str | None]]:
        return [found for name, found in self.elements if name == tag and attributes.items() <= found.items()]


def write_page(
    folder: Path, *samples: GradedSample, most: int = 20, sides: tuple[str, str] | None = None, **settings: Any
) -> str:
    run = write(folder / "run", *samples, **settings)
    with Verifier(1, 10.0) as verifier:
        report = EvaluationReport.of([run], verifier, PUBLISHED, sides=sides)
    report.write(folder / "report", most)
    return (folder / "report" / "report.html").read_text()


@pytest.fixture
def text() -> str:
    return "I add $\\frac12$.\n<tool_call>\n6 * 7\n</tool_call>\n```output\n42\n```\nIt is \\boxed{42}."


def test_trace_shows_prose_code_output_in_a_box_and_the_boxed_answer(tmp_path: Path, text: str) -> None:
    page = write_page(tmp_path, sample(text=text, snippets=[OK]))
    shown = page[page.index('<details class="trace"') :]
    places = [
        shown.index(mark) for mark in ('class="prose"', "<mfrac>", 'class="code"', 'class="output"', 'class="answer"')
    ]
    assert places == sorted(places)
    assert '<pre class="output">42</pre>' in shown
    assert '<span class="mi">6</span>' in shown


def test_page_is_self_contained_and_well_formed(tmp_path: Path, text: str) -> None:
    page = Page(write_page(tmp_path, sample(text=text, snippets=[OK])))
    assert page.open == []
    assert not page.all("link")
    assert len(page.all("img")) == 4
    assert all(str(found["src"]).startswith("data:image/svg+xml;base64,") for found in page.all("img"))
    assert not [name for name, found in page.elements if ("src" in found and name != "img") or "href" in found]


def test_model_written_text_is_inert(tmp_path: Path) -> None:
    call = f"<tool_call>\n{ATTACK}\n</tool_call>\n```output\n{ATTACK}\n```\n"
    snippets = [{"code": ATTACK, "outcome": "OK", "stdout": ATTACK, "value": ""}]
    samples = [
        sample(number=0, answer=ATTACK, text=f"{ATTACK} ${ATTACK}$ {call}", snippets=snippets),
        sample(number=1, answer=rf"\text{{{ATTACK}}}", text=rf"\boxed{{\text{{{ATTACK}}}}}"),
        sample(ATTACK, gold=ATTACK, configuration=ATTACK, status=ATTACK, reason=ATTACK),
        sample(benchmark=ATTACK),
    ]
    page = Page(write_page(tmp_path, *samples, model=ATTACK))
    assert len(page.all("script")) == 1
    assert len(page.all("img")) == 4
    assert not [found for _, found in page.elements if any(name.startswith("on") for name in found)]
    assert page.open == []


def test_content_security_policy_allows_only_the_script_of_the_page(tmp_path: Path) -> None:
    import base64
    import hashlib

    page = write_page(tmp_path, sample())
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = Page(page).all("meta", **{"http-equiv": "Content-Security-Policy"})
    assert policy["content"] == (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    )


def test_trace_shows_the_reason_of_its_verdict(tmp_path: Path) -> None:
    page = write_page(tmp_path, sample(answer="9", reason="the answer takes too long to evaluate"))
    assert "the answer takes too long to evaluate</span>" in page


def test_traces_can_be_filtered_by_configuration_benchmark_and_verdict(tmp_path: Path) -> None:
    page = Page(write_page(tmp_path, *of_answers("42", "7", ""), sample(configuration="Baseline", correct=None)))
    found = {
        tuple(one[f"data-{name}"] for name in ("configuration", "verdict"))
        for one in page.all("details", **{"class": "trace"})
    }
    assert found == {("DeepMath", "correct"), ("DeepMath", "incorrect"), ("DeepMath", "no answer")} | {
        ("Baseline", "no verdict")
    }
    assert {one["name"] for one in page.all("select")} == {"configuration", "benchmark", "verdict"}


def test_number_of_traces_is_limited_and_the_page_points_to_all_samples(tmp_path: Path) -> None:
    page = write_page(tmp_path, *of_answers(*["42"] * 50), most=3)
    assert page.count('<details class="trace"') == 3
    assert f"DeepMath on synthetic: 3 of 50 samples are shown; all are in {tmp_path}/run/samples.jsonl" in page


def test_published_results_are_marked(tmp_path: Path) -> None:
    page = write_page(tmp_path, sample())
    assert '<tr class="published"><td class="name">DeepMath, published</td>' in page
    assert "Rows in italics are published results" in page


def test_page_leads_with_the_table_and_pictures_and_ends_with_the_source_folded(tmp_path: Path) -> None:
    samples = [sample(), sample("p2", difficulty=2, family=ATTACK[:60]), sample("p3", difficulty=1, family="gcd")]
    page = write_page(tmp_path, *samples)
    marks = (
        *("<h2>Accuracy and mean output length", 'alt="Accuracy against output length"'),
        *('alt="Accuracy against difficulty"', "<h2>Accuracy by difficulty: synthetic", "<h2>Accuracy</h2>"),
        *("<summary>Accuracy by family", "<h2>Output", 'alt="Output length"', "<h2>Traces", '<details class="trace"'),
        *("<summary>Published results", "Source: a blog", "66 % shorter <cite>a card</cite>", "</details>\n<script>"),
    )
    places = [page.index(mark) for mark in marks]
    assert places == sorted(places)
    assert Page(page).open == []
    assert len(Page(page).all("img")) == 5
    assert not [found for found in Page(page).all("details") if "open" in found]


def test_markdown_leads_with_the_table_and_pictures_and_ends_with_the_source_folded(tmp_path: Path) -> None:
    family, benchmark = "<img src=x>[a](//b.c)", "<b>[x](y)"
    graded = [sample(str(level), difficulty=level, family=family, benchmark=benchmark) for level in (1, 2)]
    write_page(tmp_path, *graded, sample(str(3), family="gcd", benchmark=benchmark), sample())
    text = (tmp_path / "report" / "table.md").read_text()
    marks = (
        *("## Accuracy and mean output length", "![Accuracy against output length](plots/accuracy.svg)"),
        *("![Accuracy against difficulty](plots/difficulty.svg)", r"## Accuracy by difficulty: &lt;b>\[x\](y)"),
        *("## Accuracy\n", "<details>\n<summary>Accuracy by family</summary>\n\n| benchmark", "## Samples"),
        *("<details>\n<summary>Published results", "Source: a blog", "> 66 % shorter (a card)\n\n</details>\n"),
    )
    places = [text.index(mark) for mark in marks]
    assert places == sorted(places)
    assert text.endswith(marks[-1])
    assert (tmp_path / "report" / "plots" / "difficulty.svg").exists()
    assert "<img" not in text
    assert "<b>" not in text


def test_comparison_lists_the_problems(tmp_path: Path) -> None:
    samples = [
        sample("p1"),
        sample("p2", answer="7"),
        *of_answers("7", configuration="Baseline"),
        sample("p2", configuration="Baseline"),
    ]
    page = write_page(tmp_path, *samples, sides=("DeepMath", "Baseline"))
    assert "Wins: p1<" in page
    assert "Losses: p2<" in page


def test_settings_of_each_run_are_shown(tmp_path: Path) -> None:
    assert "<dt>model</dt><dd>tiny-math</dd>" in write_page(tmp_path, sample())


def test_lone_surrogates_and_control_characters_are_replaced(tmp_path: Path) -> None:
    page = write_page(tmp_path, sample(answer="\ud800\x00", text="\ud800 \x1b[31m", problem_id="\ud800"))
    assert "\x1b" not in page
    assert "\x00" not in page
