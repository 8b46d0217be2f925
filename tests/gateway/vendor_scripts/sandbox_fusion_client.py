"""SandboxFusion's own client: `sandbox_fusion_client.py URL CASE`, which prints JSON."""

import asyncio
import json
import sys

from sandbox_fusion import RunCodeRequest, RunJupyterRequest, run_code, run_code_async, run_jupyter, set_endpoint


def run(request: dict, **options) -> dict:
    """Return the answer, or the error that the client raises."""
    try:
        return json.loads(run_code(RunCodeRequest(**({"language": "python"} | request)), **options).json())
    except Exception as error:
        return {"error": str(error)}


def programs() -> dict:
    """Return the answers to programs of each kind."""
    cells = ["a = 20", "a + 2", "1 / 0", "print(a)"]
    hundred = [run_code_async(RunCodeRequest(code=f"print({n})", language="python")) for n in range(100)]
    return {
        "stdin": run({"code": "print(input())", "stdin": "5\n"}),
        "exit": run({"code": "import sys; sys.exit(3)"}),
        "timeout": run({"code": "print(1)\nwhile True: pass", "run_timeout": 1}),
        "language": run({"code": "int main() {}", "language": "cpp"}, max_attempts=1),
        "files": run({"code": "1", "files": {"a": "eA=="}}, max_attempts=1),
        "jupyter": json.loads(run_jupyter(RunJupyterRequest(cells=cells)).json()),
        "hundred": [answer.run_result.stdout for answer in asyncio.run(gather(hundred))],
    }


async def gather(calls: list) -> list:
    """Return the results of concurrent calls."""
    return await asyncio.gather(*calls)


def retried() -> dict:
    """Return the answer to one program, with the client's own retries."""
    return run({"code": "print(1)", "run_timeout": 1, "compile_timeout": 0})


if __name__ == "__main__":
    set_endpoint(sys.argv[1])
    print(json.dumps(globals()[sys.argv[2]]()))
