"""`deepmath report`."""

import csv
from pathlib import Path

import pytest
from support.evaluation_runs import OK, of_answers, sample, write


@pytest.fixture
def run(tmp_path: Path) -> Path:
    agent = [*of_answers("42", "1/2", "0.5", "42", snippets=[OK]), *of_answers("42", "42", "42", "", problem_id="p2")]
    baseline = [*of_answers("42", "7", "7", "7", configuration="Baseline")]
    baseline += of_answers("42", "42", "7", "42", problem_id="p2", configuration="Baseline")
    return write(tmp_path / "run", *agent, *baseline, failures=(sample(number=4),))


async def test_table_is_printed_and_all_files_are_written(deepmath, run: Path) -> None:
    ended = await deepmath("report", str(run))
    assert (ended.status, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert lines[1].split()[-4:] == ["mean,", "%", "synthetic", "tokens"]
    assert lines[2].split() == ["Baseline", "50.0", "[0.0,", "100.0]", "50.0", "[25.0,", "75.0]", "40"]
    assert lines[3].split()[:4] == ["DeepMath", "75.0", "[50.0,", "100.0]"]
    assert "DeepMath on synthetic: 1 samples lost to infrastructure failures (not counted)" in ended.out
    assert {path.name for path in (run / "report").iterdir()} == {
        *("table.md", "table.csv", "curves.csv", "report.html", "plots")
    }
    assert "| DeepMath | 75.0 [50.0, 100.0] | 62.5 [50.0, 75.0] | 40 |" in (run / "report" / "table.md").read_text()
    rows = list(csv.DictReader((run / "report" / "table.csv").read_text().splitlines()))
    assert [row["majority"] for row in rows if row["source"] == "ours"] == ["50.0", "75.0"]


async def test_two_configurations_are_compared(deepmath, run: Path, tmp_path: Path) -> None:
    output = tmp_path / "elsewhere"
    ended = await deepmath("report", str(run), "--compare", "DeepMath", "Baseline", "--output", str(output))
    assert ended.status == 0
    assert "McNemar" in ended.out
    rows = list(csv.DictReader((output / "comparison.csv").read_text().splitlines()))
    assert [(row["problem"], row["result"]) for row in rows] == [("p1", "win"), ("p2", "same")]
    assert not (run / "report").exists()


async def test_k_limits_the_samples_of_a_vote(deepmath, run: Path) -> None:
    ended = await deepmath("report", str(run), "--k", "1", "--traces", "0")
    assert "synthetic majority@1, %" in ended.out


async def test_published_results_follow_ours(deepmath, run: Path, tmp_path: Path) -> None:
    file = tmp_path / "published.json"
    row = '{"configuration": "DeepMath", "benchmark": "synthetic", "majority@16": 97.35, "mean_tokens": 12}'
    file.write_text(f'{{"source": "a blog", "note": "", "rows": [{row}], "claims": []}}')
    ended = await deepmath("report", str(run), "--published", str(file))
    assert "DeepMath, published" in ended.out
    assert "published: a blog, not by us" in ended.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "no evaluation in nowhere"),
        (["RUN", "RUN"], "given twice"),
        (["RUN", "--k", "5"], "k is 5, but Baseline on synthetic has at most 4 samples per problem"),
        (["RUN", "--compare", "DeepMath", "Deepmath"], "there is no 'Deepmath' to compare"),
        (["RUN", "OTHER", "--compare", "RUN", "OTHER"], "give two with a common benchmark"),
        (["RUN", "--published", "nowhere.json"], "there is no nowhere.json"),
        (["RUN", "--output", "RUN/settings.json"], "cannot write to"),
    ],
)
async def test_invalid_request_is_one_line_with_exit_status_2(
    deepmath, run: Path, tmp_path: Path, arguments, message
) -> None:
    write(tmp_path / "other", sample(benchmark="own", configuration="own"))
    places = {"RUN": str(run), "OTHER": str(tmp_path / "other")}
    ended = await deepmath("report", *(places.get(one, one.replace("RUN", str(run))) for one in arguments))
    assert ended.status == 2
    assert message in ended.err
    assert ended.err.count("\n") == 1
    assert not (run / "report").exists()
