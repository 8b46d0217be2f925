"""OpenEnv's generic client: `openenv_client.py EXAMPLE URL DOOMED_URL`; prints what it got as JSON."""

import asyncio
import json
import runpy
import sys

from openenv import GenericEnvClient


async def tour(url: str) -> dict:
    """Use two environments at a time."""
    async with GenericEnvClient(base_url=url) as first, GenericEnvClient(base_url=url) as second:
        reset = await first.reset(seed=5, episode_id="episode-1")
        seen: dict = {"reset": [reset.observation, reset.reward, reset.done]}
        for env, value in ((first, 1), (second, 2)):
            await env.step({"code": f"x = {value}"})
        steps = await asyncio.gather(*(env.step({"code": "print('x is', x)\nx + 40"}) for env in (first, second)))
        seen["steps"] = [[step.observation["stdout"], step.reward, step.done] for step in steps]
        error = (await first.step({"code": "1 / 0"})).observation
        seen["error"] = [error["stderr"].splitlines()[-1], error["exit_code"]]
        seen["state"] = await first.state()
        await first.reset()
        seen["after reset"] = (await first.step({"code": "x"})).observation["exit_code"]
        seen["wrong action"] = await message_of(first.step({"program": "1"}))
        return seen


async def failure(url: str) -> dict:
    """Take a step whose executor dies."""
    async with GenericEnvClient(base_url=url) as env:
        await env.reset()
        return {"error": await message_of(env.step({"code": "while True: pass"}))}


async def message_of(step) -> str:
    """Return the error that a step raises; empty if there is a result, which would have a reward."""
    try:
        await step
    except RuntimeError as error:
        return str(error)
    return ""


if __name__ == "__main__":
    example, url, doomed_url = sys.argv[1:]
    seen = {"example": asyncio.run(runpy.run_path(example)["main"](url)), "tour": asyncio.run(tour(url))}
    print(json.dumps(seen | {"failure": asyncio.run(failure(doomed_url))}))
