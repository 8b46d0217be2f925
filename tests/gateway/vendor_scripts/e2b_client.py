"""E2B's code interpreter SDK: `e2b_client.py CASE`, with the address in the environment; prints JSON."""

import asyncio
import json
import sys

from e2b_code_interpreter import AsyncSandbox, Sandbox


def refused(call) -> list:
    """Return class and text of the error that `call` raises."""
    try:
        call()
    except Exception as error:
        return [type(error).__name__, str(error)]
    return []


def execution(done) -> dict:
    """Return an execution as JSON."""
    error = done.error and [done.error.name, done.error.value, done.error.traceback]
    formats = [sorted(result.formats()) for result in done.results]
    return {
        "text": done.text,
        "stdout": done.logs.stdout,
        "stderr": done.logs.stderr,
        "error": error,
        "formats": formats,
        "count": done.execution_count,
    }


def tour() -> dict:
    """Use a sandbox for all that it has, and for what it does not have."""
    sandbox = Sandbox.create(timeout=120, metadata={"who": "tour"})
    seen: dict = {"first": execution(sandbox.run_code("x = 20\nprint('hello\\u2028there')\nx + 2"))}
    seen["string"] = sandbox.run_code("'text'").text
    seen["error"] = execution(sandbox.run_code("1 / 0"))
    context = sandbox.create_code_context()
    seen["other context"] = execution(sandbox.run_code("x", context=context))
    seen["contexts"] = len(sandbox.list_code_contexts())
    sandbox.run_code("y = 1", context=context)
    sandbox.restart_code_context(context)
    seen["restarted"] = execution(sandbox.run_code("y", context=context))
    sandbox.remove_code_context(context)
    seen["refused"] = {
        "context": refused(lambda: sandbox.run_code("1", context=context)),
        "language": refused(lambda: sandbox.run_code("1", language="js")),
        "context language": refused(lambda: sandbox.create_code_context(language="r")),
        "folder": refused(lambda: sandbox.create_code_context(cwd="/data")),
        "environment": refused(lambda: sandbox.run_code("1", envs={"A": "b"})),
        "upload": refused(lambda: sandbox.files.write("/a", "b")),
        "download": refused(lambda: sandbox.files.read("/a")),
        "command": refused(lambda: sandbox.commands.run("ls")),
        "pause": refused(sandbox.pause),
        "template": refused(lambda: Sandbox.create("other")),
    }
    seen["info"] = sandbox.get_info().metadata
    seen["listed"] = sandbox.sandbox_id in [item.sandbox_id for item in Sandbox.list().next_items()]
    sandbox.set_timeout(240)
    seen["connected"] = Sandbox.connect(sandbox.sandbox_id).run_code("x").text
    seen["running"] = [sandbox.is_running(), sandbox.kill(), sandbox.is_running(), sandbox.kill()]
    seen["killed"] = refused(lambda: sandbox.run_code("1"))
    seen["async"] = asyncio.run(concurrent())
    return seen


async def concurrent() -> list:
    """Use eight sandboxes at once."""

    async def one(number: int) -> str | None:
        sandbox = await AsyncSandbox.create()
        await sandbox.run_code(f"x = {number}")
        text = (await sandbox.run_code("x * x")).text
        await sandbox.kill()
        return text

    return await asyncio.gather(*(one(number) for number in range(8)))


def figure() -> dict:
    """Draw."""
    sandbox = Sandbox.create()
    drawn = sandbox.run_code("import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()\n3")
    return execution(drawn) | {"png": drawn.results[0].png}


def debug() -> dict:
    """Run code as in the SDK's debug mode, which creates no sandbox."""
    return execution(Sandbox.create().run_code("1 + 1"))


def create() -> list:
    """Create a sandbox, which the SDK retries, and return the error."""
    return refused(Sandbox.create)


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]]()))
