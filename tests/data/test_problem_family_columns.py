"""Family and difficulty of a dataset's problems: whatever the cells hold, short printable texts and small numbers."""

import json
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepmath.data.dataset_problem import DatasetProblem
from deepmath.data.problem_family_columns import MOST_DIFFICULTY, FamilyColumns, difficulty_of, family_of
from deepmath.data.synthetic import generate
from deepmath.evaluation.benchmark_registry import find_benchmark

CELLS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=80),
    lambda one: st.lists(one, max_size=3),
)


@settings(deadline=None)
@given(CELLS, CELLS)
def test_any_cell_gives_a_bounded_printable_family_and_a_small_difficulty(family: object, difficulty: object) -> None:
    problem = DatasetProblem.of("1 + 1?", "2", family=family, difficulty=difficulty)
    assert len(problem.family) <= 60
    assert problem.family.isprintable()
    assert problem.difficulty is None or (
        isinstance(problem.difficulty, int) and 0 <= problem.difficulty <= MOST_DIFFICULTY
    )


DIFFICULTIES = {3: 3, "3.0": 3, "3": 3, "Level 5": 5, "level 2": 2, 5.5: 5, "7.25": 7, 0: 0, 20: 20}


@pytest.mark.parametrize(("cell", "difficulty"), DIFFICULTIES.items(), ids=str)
def test_levels_of_datasets_are_difficulties(cell: object, difficulty: int) -> None:
    assert difficulty_of(cell) == difficulty


@pytest.mark.parametrize(
    "cell",
    ["Level ?", "Competition", "", -1, 21, True, math.nan, math.inf, 10**400, None, [3], "٣", "9" * 5000],
    ids=repr,
)
def test_other_cells_are_no_difficulty(cell: object) -> None:
    assert difficulty_of(cell) is None


@pytest.mark.parametrize("cell", ["x" * 61, "a\nb", "a\u202eb", "\x1b[31m", 3, None, ["Algebra"]], ids=repr)
def test_long_or_unprintable_texts_are_no_family(cell: object) -> None:
    assert family_of(cell) == ""
    assert family_of(" Number Theory ") == "Number Theory"


def test_columns_are_found_by_their_usual_names_in_any_case() -> None:
    assert FamilyColumns.among(["problem", "level", "subject"]) == FamilyColumns("subject", "level")
    assert FamilyColumns.among(["Category", "Family", "Level", "difficulty"]) == FamilyColumns("Family", "difficulty")
    assert FamilyColumns.among(["problem"]).names == []


def test_family_and_difficulty_survive_a_file(tmp_path: Path) -> None:
    file = tmp_path / "problems.jsonl"
    made = list(generate(64, "test", 5))
    file.write_text("".join(f"{one.to_json()}\n" for one in made))
    found = find_benchmark(str(file)).problems()
    assert [(one.text, one.family, one.difficulty) for one in found] == [
        (one.problem, one.family, one.difficulty) for one in made
    ]
    file.write_text("".join(f"{json.dumps(one.to_row())}\n" for one in found))
    assert find_benchmark(str(file)).problems() == [one.with_digest() for one in found]


def test_synthetic_benchmark_has_families_and_difficulties() -> None:
    found = find_benchmark("synthetic").problems(100)
    assert {one.difficulty for one in found} == {1, 2, 3}
    assert all(one.family for one in found)


def test_math500_has_five_levels_and_seven_subjects() -> None:
    file = Path(__file__).parents[3] / "shared/data/math500.jsonl"
    if not file.exists():
        pytest.skip("no shared data")
    found = find_benchmark(f"math500={file}").problems()
    assert {one.difficulty for one in found} == {1, 2, 3, 4, 5}
    assert len({one.family for one in found}) == 7
    assert all(one.family for one in found)
