"""verl's client of SandboxFusion: `verl_client.py URL CASE`, which prints JSON."""

import importlib.util
import json
import sys
from importlib import metadata
from types import ModuleType


def client() -> ModuleType:
    """Return verl's package with the client; importing verl itself needs torch."""
    folder = metadata.distribution("verl").locate_file("verl/utils/reward_score/sandbox_fusion")
    spec = importlib.util.spec_from_file_location(
        "client", f"{folder}/__init__.py", submodule_search_locations=[str(folder)]
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules["client"] = module
    spec.loader.exec_module(module)
    return module


def judge(url: str) -> dict:
    """Return what verl books for programs of each kind."""
    utils, score = sys.modules["client.utils"], sys.modules["client"].compute_score
    echo = {"inputs": ["1\n", "2\n"], "outputs": ["1", "3"]}
    one = {"inputs": ["1"], "outputs": ["1"]}
    double = {"inputs": ["1", "2"], "outputs": ["2", "4"]}

    def check(cases: dict, program: str, **options) -> list:
        return utils.check_correctness(url, cases, program, **options)[0]

    return {
        "echo": check(echo, "print(input())"),
        "function": check({"inputs": ["[1, 2]"], "outputs": ["3"], "fn_name": "f"}, "def f(x): return sum(x)"),
        "exception": check(one, "1 / 0"),
        "timeout": check(one, "while True: pass", timeout=1),
        "language": check(one, "int main() {}", language="cpp"),
        "score": score(url, None, 1024, "```python\nprint(int(input()) * 2)\n```", double)[0],
    }


def call(url: str) -> dict:
    """Return the answer to one call, or the error."""
    answer, error = sys.modules["client.utils"].call_sandbox_api(url, "print(input())", "5\n", 1, 1, 1024)
    return {"answer": answer, "error": error}


if __name__ == "__main__":
    client()
    print(json.dumps(globals()[sys.argv[2]](sys.argv[1])))
