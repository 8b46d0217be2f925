"""A sample of a real model's programs with recorded output; `benchmarks/real_programs.py` runs all of them."""

import json
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).parents[2] / "../shared/data/programs.jsonl"
EVERY = 22  # of 1318 programs
ENDLESS = 880  # a program that its authors stopped


@pytest.mark.skipif(not PROGRAMS.exists(), reason="needs the public programs in ../shared/data")
async def test_program_of_a_real_model_prints_its_recorded_output(executor):
    lines = PROGRAMS.read_text(encoding="utf-8").splitlines()
    count = len(lines) if executor.sandboxes_are_cheap else 10 * EVERY
    for number in set(range(0, count, EVERY)) - {ENDLESS}:
        program = json.loads(lines[number])
        result = await executor.execute(program["code"])
        last = result.exception.traceback.rstrip().rpartition("\n")[2]
        assert (result.stdout + last).strip() == program["output"].strip(), (number, result)
