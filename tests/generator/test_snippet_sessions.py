"""Variables live as long as their trajectory and are invisible to all others."""

import asyncio

import pytest

from deepmath.executor.v1 import executor_pb2 as executor_pb
from deepmath.generator.v1 import generator_pb2 as pb


@pytest.fixture(scope="module")
async def runs(solve, two_step) -> list[pb.Trajectory]:
    return await asyncio.gather(*(solve(question, seed=1) for question in two_step[:48]))


def test_second_snippet_sees_the_variables_of_the_first(runs: list[pb.Trajectory]) -> None:
    used = 0
    for run in (run for run in runs if len(run.snippets) == 2):
        names = {line.split("=")[0].strip() for line in run.snippets[0].code.splitlines() if "=" in line}
        second = run.snippets[1]
        if any(name.isidentifier() and name in second.code for name in names):
            used += second.result.outcome == executor_pb.OUTCOME_OK
    assert used > 3


async def test_concurrent_sessions_do_not_see_each_others_variables(executor) -> None:
    async def define_and_list(n: int) -> tuple[str, str]:
        async with executor.session() as session:
            await session.run(f"mine_{n} = {n}")
            await asyncio.sleep(0.1)  # until the others have defined theirs
            return (await session.run("sorted(k for k in globals() if k.startswith('mine_'))")).value, f"['mine_{n}']"

    for seen, own in await asyncio.gather(*map(define_and_list, range(24))):
        assert seen == own
