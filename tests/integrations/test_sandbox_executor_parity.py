"""Parity with smolagents' local interpreter: an agent reads the same results, except for documented differences."""

from pathlib import Path

import pytest
from smolagents import LocalPythonExecutor

from .parity_snippets import DIFFERENT, SAME
from .scripted_agents import TOOLS, outcome, run_snippets

DOCUMENTED = (Path(__file__).resolve().parents[2] / "docs" / "smolagents.md").read_text()
IMPORTS = ["numpy", "sympy"]


@pytest.mark.parametrize("name", SAME)
def test_agent_reads_the_same_results_from_both_executors(new_executor, name):
    local = run_snippets(LocalPythonExecutor(IMPORTS), SAME[name], TOOLS)
    ours = run_snippets(new_executor(IMPORTS), SAME[name], TOOLS)
    assert [outcome(step) for step in ours] == [outcome(step) for step in local]


@pytest.mark.parametrize("name", DIFFERENT)
def test_difference_is_as_documented(new_executor, name):
    difference = DIFFERENT[name]
    local = outcome(run_snippets(LocalPythonExecutor(IMPORTS), difference.steps, TOOLS)[-1])
    ours = outcome(run_snippets(new_executor(IMPORTS), difference.steps, TOOLS)[-1])
    assert local != ours
    assert difference.local in "\n".join(map(str, local))
    assert difference.ours in "\n".join(map(str, ours))
    assert f"**{difference.why}" in DOCUMENTED


def test_parity_covers_at_least_60_snippets():
    assert len(SAME) >= 60
