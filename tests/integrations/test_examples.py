"""The README's example and the scripts in examples/, run as programs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.scripted_engine import CODE

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


def run(*arguments: str, seconds: float = 60) -> str:
    """Run Python with `arguments`, and return its stdout."""
    ended = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, timeout=seconds, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr
    return ended.stdout


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_readme_example_prints_the_documented_answer() -> None:
    (example,) = re.findall(r"```python\n(from deepmath\.integrations\.smolagents .*?)```", README, re.DOTALL)
    assert len([line for line in example.splitlines() if line]) <= 5
    assert run("-c", example, seconds=390).splitlines()[-1] == re.findall(r"# (\d+)$", example, re.MULTILINE)[-1]


def test_math_agent_example_prints_its_steps(scripted_generator) -> None:
    out = run("examples/math_agent.py", "What is 6 * 7?", scripted_generator.address)
    lines = out.splitlines()
    assert lines[1::2] == [f"{CODE} → 42", r"The answer is \boxed{42}. → 42"]
    assert re.fullmatch(r"step 2, \d+ tokens", lines[2])
    assert lines[4] == "answer: 42"


def test_managed_math_agent_example_prints_answer_and_cost(scripted_generator) -> None:
    scripted_generator.engine.replies = [
        "<code>\nfinal_answer(mathematician(task='What is 6 * 7?').splitlines()[1])\n</code>"
    ]
    out = run("examples/managed_math_agent.py", "Have it solved.", scripted_generator.address)
    assert out.startswith("42\n")
    assert int(out.split()[-1]) > 0
