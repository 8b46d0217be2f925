"""`vf-eval` with our taskset: `verifiers_eval.py FOLDER [OPTION ...]`; prints what it books as JSON."""

import hashlib
import json
import sys
from pathlib import Path

from verifiers.v1.cli.eval.main import main
from verifiers.v1.harnesses.utils.launch import CHAT_PROGRAM_SOURCE
from verifiers.v1.runtimes.subprocess import SubprocessRuntime


def use_this_environment() -> None:
    """Let the agent's program run here: verifiers would install the newest versions of its packages with uv."""
    source = CHAT_PROGRAM_SOURCE.encode()
    path = Path(SubprocessRuntime.scripts_dir) / f"{hashlib.sha256(source).hexdigest()}.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(source)
    SubprocessRuntime._interpreters[str(path)] = sys.executable


def booked(folder: Path) -> list[dict]:
    """Return what is written of each rollout, in the order of the tasks."""
    (file,) = folder.glob("*/traces.jsonl")
    episodes = [json.loads(line) for line in file.read_text().splitlines()]
    traces = [trace for episode in episodes for trace in episode.get("traces", [episode])]
    return [
        {
            "ok": trace["ok"],
            "errors": [error["type"] for error in trace["errors"]],
            "accuracy": trace["rewards"].get("accuracy") and trace["rewards"]["accuracy"]["score"],
            "tools": [node["message"]["content"] for node in trace["nodes"] if node["message"]["role"] == "tool"],
        }
        for trace in sorted(traces, key=lambda trace: trace["task"]["data"]["idx"])
    ]


if __name__ == "__main__":
    folder, *options = sys.argv[1:]
    use_this_environment()
    agent = ["--env.agent.harness.id", "null", "--env.agent.runtime.type", "subprocess"]
    command = ["maths-with-python", *agent, "--no-push", "--no-rich", "-o", folder, *options]
    sys.stdout = sys.stderr
    main(command)
    sys.stdout = sys.__stdout__
    print(json.dumps(booked(Path(folder))))
