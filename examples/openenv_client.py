"""OpenEnv's generic client with the gateway's environment: `python examples/openenv_client.py http://HOST:PORT`."""

import asyncio
import sys

from openenv import GenericEnvClient


async def main(url: str) -> str:
    """Run two snippets that share a variable, and return what the second prints."""
    async with GenericEnvClient(base_url=url) as env:
        await env.reset(seed=1)
        await env.step({"code": "x = 6 * 7"})
        step = await env.step({"code": "x"})
        return step.observation["stdout"]


if __name__ == "__main__":
    print(asyncio.run(main(sys.argv[1])), end="")
