"""Trials of a real model beside the experiment: its call rate in each dialect, tokens per second, upload of adapters.

`python -m benchmarks.real_model_trials MODEL --problems FILE --adapter FOLDER` serves the model once for each dialect
and solves problems with Python, then once for each data type and samples batches of answers without, and uploads the
adapter. The results go to docs/results/real-model/trials.json.
"""

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.real_model import RESULTS, SCALES, gsm8k_rows
from benchmarks.real_model_services import Deepmath
from deepmath.clients import GeneratorClient
from deepmath.generator.v1 import generator_pb2 as pb

DIALECTS = ("python-fence", "hermes", "tool-call", "python-tag")
DTYPES = ("bfloat16", "float32")
BATCHES = (8, 32, 64)
TOKENS = 96  # of each sample in the batches: few end earlier
SAMPLING = {
    "as in evaluation": pb.Sampling(temperature=0.6, top_p=0.95, top_k=20),
    "as in training": pb.Sampling(temperature=1.0, top_p=1.0, top_k=0),
}


class Trials:
    """Trials of one model."""

    def __init__(self, model: str, problems: Path, limit: int, adapter: Path, folder: Path) -> None:
        self.model, self.adapter, self.folder = model, adapter, folder
        folder.mkdir(parents=True, exist_ok=True)
        self.deepmath = Deepmath(folder)
        self.problems = folder / "gsm8k.jsonl"
        rows = list(gsm8k_rows(problems))[: max(limit, *BATCHES)]
        self.questions = [row["problem"] for row in rows]
        self.problems.write_text("".join(f"{json.dumps(row)}\n" for row in rows[:limit]))

    def run(self) -> dict[str, Any]:
        """Return the call rate of each dialect and the tokens per second of each data type and batch."""
        with self.deepmath.serve("executor") as executor:
            dialects = {name: self.solve(executor.address, name) for name in DIALECTS}
            return {
                "dialects": dialects,
                "tokens_per_s": {name: self.decode(executor.address, name) for name in DTYPES},
            }

    def solve(self, executor: str, dialect: str) -> dict[str, float]:
        """Return shares and tokens of the problems solved with Python in a dialect."""
        output = self.folder / dialect
        with self.deepmath.serve("generator", *self._options(executor, "bfloat16"), f"--dialect={dialect}") as served:
            self.deepmath.run(
                *("eval", f"--generator={served.address}", "--mode=agent", f"--benchmark={self.problems}"),
                *("--samples=1", f"--max-tokens={SCALES['cpu'].max_tokens}", f"--output={output}"),
            )
        samples = [json.loads(line) for line in (output / "samples.jsonl").read_text().splitlines()]
        return {
            "problems": len(samples),
            "call_rate": _share(samples, lambda sample: sample["snippets"]),
            "succeeded": _share(samples, lambda sample: any(one["outcome"] == "OK" for one in sample["snippets"])),
            "accuracy": _share(samples, lambda sample: sample["correct"]),
            "model_tokens": sum(sample["model_tokens"] for sample in samples) / len(samples),
        }

    def decode(self, executor: str, dtype: str) -> dict[str, dict[str, float]]:
        """Return the sampled tokens per second of each batch, by sampling parameters."""
        with self.deepmath.serve("generator", *self._options(executor, dtype)) as served:
            return {
                name: {str(size): asyncio.run(self._rate(served.address, size, sampling)) for size in BATCHES}
                for name, sampling in SAMPLING.items()
            }

    def upload(self, executor: str) -> dict[str, float]:
        """Return the size of the adapter in bytes, and the seconds until each of three uploads was served."""
        with self.deepmath.serve("generator", *self._options(executor, "bfloat16")) as served:
            seconds = asyncio.run(self._upload(served.address))
        size = sum(file.stat().st_size for file in self.adapter.glob("adapter_model*"))
        return {"bytes": size, **{f"seconds_{number}": value for number, value in enumerate(seconds, start=1)}}

    async def _upload(self, address: str) -> list[float]:
        async with GeneratorClient(address) as client:
            model = (await client.get_info()).model
            seconds = []
            for version in (1, 2, 3):
                started = time.monotonic()
                await client.update_adapter(self.adapter, version, model, run="trial")
                seconds.append(round(time.monotonic() - started, 2))
        return seconds

    async def _rate(self, address: str, size: int, sampling: pb.Sampling) -> float:
        prompts = [pb.RolloutPrompt(id=str(number), question=self.questions[number]) for number in range(size)]
        budget = pb.Budget(max_tokens=TOKENS)
        async with GeneratorClient(address) as client:
            started = time.monotonic()
            tokens = 0
            async for response in client.rollout(prompts, mode=pb.MODE_PLAIN, sampling=sampling, budget=budget):
                tokens += response.trajectory.model_tokens
        return round(tokens / (time.monotonic() - started), 1)

    def _options(self, executor: str, dtype: str) -> list[str]:
        options = [option for option in SCALES["cpu"].generator if not option.startswith("--dtype")]
        return [
            f"--executor={executor}",
            f"--model={self.model}",
            "--prompt=word-problems",
            f"--dtype={dtype}",
            *options,
        ]


def _share(samples: list[dict[str, Any]], holds: Any) -> float:
    return round(sum(bool(holds(sample)) for sample in samples) / len(samples), 3)


def main() -> int:
    """Run the trials; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.real_model_trials", description=__doc__.split("\n", 1)[0]
    )
    parser.add_argument("model", help="Directory or hub name of the model.")
    parser.add_argument("--problems", type=Path, required=True, help="GSM8K's test split, in its own schema.")
    parser.add_argument("--adapter", type=Path, required=True, help="Folder of a LoRA adapter of the model.")
    parser.add_argument("--limit", type=int, default=24, help="Problems for each dialect.")
    parser.add_argument("--output", type=Path, default=Path("runs/real-model-trials"), help="Folder of the trials.")
    parser.add_argument("--results", type=Path, default=RESULTS, help="Folder of the results.")
    arguments = parser.parse_args()
    folder = arguments.output.resolve()
    results = Trials(arguments.model, arguments.problems, arguments.limit, arguments.adapter, folder).run()
    arguments.results.mkdir(parents=True, exist_ok=True)
    (arguments.results / "trials.json").write_text(json.dumps(results, indent=2) + "\n")
    print(json.dumps(results, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
