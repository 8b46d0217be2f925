"""An agent gets the same from our executor as from smolagents' own, but for differences listed and justified."""

from pathlib import Path

import pytest
from smolagents import LocalPythonExecutor

from .scripted import TOOLS, steps, told
from .snippets import DIFFERENT, SAME

DOCUMENTED = (Path(__file__).resolve().parents[2] / "docs" / "smolagents.md").read_text()
IMPORTS = ["numpy", "sympy"]


@pytest.mark.parametrize("name", SAME)
def test_agent_is_told_the_same_by_both_executors(new_executor, name):
    local = steps(LocalPythonExecutor(IMPORTS), SAME[name], TOOLS)
    ours = steps(new_executor(IMPORTS), SAME[name], TOOLS)
    assert [told(step) for step in ours] == [told(step) for step in local]


@pytest.mark.parametrize("name", DIFFERENT)
def test_difference_is_the_one_that_is_documented(new_executor, name):
    difference = DIFFERENT[name]
    local = told(steps(LocalPythonExecutor(IMPORTS), difference.steps, TOOLS)[-1])
    ours = told(steps(new_executor(IMPORTS), difference.steps, TOOLS)[-1])
    assert local != ours
    assert difference.local in "\n".join(map(str, local))
    assert difference.ours in "\n".join(map(str, ours))
    assert f"**{difference.why}" in DOCUMENTED


def test_enough_is_compared():
    assert len(SAME) >= 60
