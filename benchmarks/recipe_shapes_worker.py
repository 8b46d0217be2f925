"""Worker of `recipe_shapes`: trains on random trajectories of full length and prints its memory and times as JSON.

`python -m benchmarks.recipe_shapes_worker FOLDER COMPLETION PROMPT FORM` trains the run in FOLDER, which holds its
configuration. COMPLETION and PROMPT are lengths in tokens. FORM is `tiles`, the output layer as the trainer computes
it, or `logits`, with the logits of all scored tokens at once.
"""

import json
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any, cast

import torch
from deepmath_trainer.grpo_trainer import GrpoTrainer
from deepmath_trainer.rewards import Reward, outcome
from deepmath_trainer.rollout_batch import RolloutBatch, RolloutGroup, TrainingSample
from deepmath_trainer.run_config import TrainConfig
from deepmath_trainer.run_config_parser import parse_config
from deepmath_trainer.run_folder import RunFolder
from deepmath_trainer.sampling_pipeline import SamplingPipeline
from trl.trainer import utils

from deepmath.data.dataset_problem import DatasetProblem
from deepmath.generator.v1 import generator_pb2 as pb

_PROBLEM = DatasetProblem.of("1 + 1?", "2")
_WORDS = 150_000  # below the special tokens


class RandomTrajectories:
    """Takes the place of the sampling pipeline: batches of random tokens with random rewards."""

    def __init__(self, config: TrainConfig, completion: int, prompt: int) -> None:
        self._config, self._completion, self._prompt = config, completion, prompt
        self.replicas = SimpleNamespace(run="random")
        self.sampler = SimpleNamespace(verifier=SimpleNamespace(reasons=Counter()))
        self.busy_seconds = 0.0
        self.published: list[Path] = []

    def next(self, index: int, policy: Callable[[], Path | None], step: int) -> RolloutBatch:
        """Return a batch, after noting the policy that the generators would get."""
        if folder := policy():
            self.published.append(folder)
        random = Random(index)
        rollout = self._config.rollout
        groups = [self._group(random, rollout.samples, step) for _ in range(rollout.groups)]
        return RolloutBatch(index, rollout.temperature.start, groups, ended=1.0)

    def discard_before(self, batch: int) -> None:
        """Do nothing: no batch is kept."""

    def _group(self, random: Random, samples: int, step: int) -> RolloutGroup:
        prompt = [random.randrange(_WORDS) for _ in range(self._prompt)]
        return RolloutGroup(_PROBLEM, [self._sample(random, prompt, step) for _ in range(samples)])

    def _sample(self, random: Random, prompt: list[int], step: int) -> TrainingSample:
        tokens = [random.randrange(_WORDS) for _ in range(self._completion)]
        segment = pb.Segment(
            source=pb.Segment.SOURCE_MODEL, token_ids=tokens, logprobs=[-12.0] * len(tokens), policy_version=step
        )
        trajectory = pb.Trajectory(prompt_token_ids=prompt, segments=[segment], model_tokens=len(tokens))
        return TrainingSample(trajectory, outcome(trajectory, True), Reward(random.random()))


class AllLogits:
    """Takes the place of TRL's tiles: the logits of all scored tokens, in one tensor."""

    @staticmethod
    def apply(
        hidden: torch.Tensor, weight: torch.Tensor, _bias: None, targets: torch.Tensor, temperature: float, *_: Any
    ) -> tuple[torch.Tensor | None, ...]:
        """Return log-probabilities and entropies, (tokens,), of `targets` under `hidden` (tokens, width)."""
        logits = torch.nn.functional.linear(hidden, weight).float() / temperature
        logprobs = logits.log_softmax(-1)
        with torch.no_grad():
            entropies = -(logprobs.exp() * logprobs).sum(-1)
        return logprobs.gather(-1, targets[:, None])[:, 0], entropies, None, None, None


class PeakMemory:
    """The largest memory of this process: that of the GPU, or the resident set."""

    def __init__(self, cuda: bool) -> None:
        self._cuda = cuda

    def reset(self) -> None:
        """Start to measure."""
        if self._cuda:
            torch.cuda.reset_peak_memory_stats()
        else:
            Path("/proc/self/clear_refs").write_text("5")

    def gib(self) -> float:
        """Return the largest since `reset`, in GiB."""
        if self._cuda:
            return round(torch.cuda.max_memory_allocated() / 2**30, 2)
        status = Path("/proc/self/status").read_text()
        return round(int(status.split("VmHWM:")[1].split()[0]) / 2**20, 2)


def main(folder: Path, completion: int, prompt: int, form: str) -> None:
    run = RunFolder(folder)
    config = parse_config(run.config.read_text())
    memory, steps = PeakMemory(not config.launch.cpu), []
    if form == "logits":
        utils._ChunkedLogProbFunction = AllLogits
    pipeline = RandomTrajectories(config, completion, prompt)

    def on_step(_step: int, metrics: dict[str, float], _batch: RolloutBatch) -> None:
        steps.append({"seconds": round(metrics["train_seconds"], 2), "peak_gib": memory.gib()})
        memory.reset()

    memory.reset()
    trainer = GrpoTrainer(config, run, cast(SamplingPipeline, pipeline), on_step)
    loaded = memory.gib()
    memory.reset()
    trainer.run(None)
    trainer.save_policy(run.adapter)
    weights = run.adapter / "adapter_model.safetensors"
    trained = [weight for weight in trainer.model.parameters() if weight.requires_grad]
    print(
        json.dumps(
            {
                "loaded_peak_gib": loaded,
                "steps": steps,
                "adapter_parameters": sum(weight.numel() for weight in trained),
                "adapter_bytes": weights.stat().st_size,
                "tokens_per_step": config.batch * (completion + prompt),
            }
        ),
        flush=True,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
