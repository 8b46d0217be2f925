"""The baseline of `benchmarks.training`: TRL's own GRPOTrainer with its own tools, generating with transformers.

`python -m benchmarks.training_trl FOLDER` trains with FOLDER/config.yaml, a configuration of this project's trainer,
and writes FOLDER/metrics.jsonl with the same names of metrics. Model, problems and their order, batch, LoRA,
optimizer, loss and rewards are the same. The tool is an `environment_factory`, the form of TRL's `tools=` in which
each trajectory has its own variables, which two-step questions need. There are no services, no sandbox and no
log-probabilities of the sampler.
"""

import importlib
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from deepmath_trainer.problem_order import ProblemOrder
from deepmath_trainer.run_config import TrainConfig
from deepmath_trainer.run_config_parser import parse_config
from deepmath_trainer.run_folder import RunFolder
from deepmath_trainer.training_data import load_problems
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase
from trl import GRPOConfig, GRPOTrainer

from benchmarks.training_trl_tool import CHAT_TEMPLATE, END_OF_CALL, RESPONSE_TEMPLATE, ToolSession, succeeded
from deepmath.grading.answer_extraction import extract_boxed
from deepmath.grading.answer_normalization import same_canonical_form

Messages = list[dict[str, Any]]


def main(folder: RunFolder) -> None:
    config = parse_config(folder.config.read_text())
    if config.launch.threads:
        torch.set_num_threads(config.launch.threads)
    agent = config.rollout.mode == "agent"
    trainer = TimedTrainer(
        model=AutoModelForCausalLM.from_pretrained(config.model_path, dtype=torch.float32),
        processing_class=tokenizer(config.model_path, agent),
        args=arguments(config, folder.path),
        train_dataset=dataset(config),
        reward_funcs=[accuracy_reward, code_reward],
        environment_factory=ToolSession if agent else None,
        peft_config=lora(config),
    )
    trainer.folder = folder
    importlib.import_module("sympy")  # its import is not part of a step
    trainer.train()


class TimedTrainer(GRPOTrainer):  # type: ignore[misc]
    """TRL's trainer with timers around its parts, which are private methods of the pinned version."""

    folder: RunFolder

    def __init__(self, *args: Any, **options: Any) -> None:
        self.seconds = {"generate": 0.0, "reward": 0.0, "batch": 0.0}
        self.step_started = time.perf_counter()
        super().__init__(*args, **options)

    def _generate(self, *args: Any) -> Any:
        return self._timed("generate", super()._generate, *args)

    def _calculate_rewards(self, *args: Any) -> Any:
        return self._timed("reward", super()._calculate_rewards, *args)

    def _generate_and_score_completions(self, *args: Any) -> Any:
        return self._timed("batch", super()._generate_and_score_completions, *args)

    def _timed(self, name: str, call: Callable[..., Any], *args: Any) -> Any:
        started = time.perf_counter()
        result = call(*args)
        self.seconds[name] += time.perf_counter() - started
        return result

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        values = {name: sum(given) / len(given) for name, given in self._metrics["train"].items() if given}
        super().log(logs, start_time)
        if "loss" not in logs:  # the summary at the end of training
            return
        now = time.perf_counter()
        step_seconds, self.step_started = now - self.step_started, now
        metrics = {
            "step_seconds": step_seconds,
            "generate_seconds": self.seconds["generate"],
            "reward_seconds": self.seconds["reward"],
            "train_seconds": step_seconds - self.seconds["batch"],
            "accuracy": values["rewards/accuracy_reward/mean"],
            "code_executed_rate": values["rewards/code_reward/mean"],
            "code_rate": values.get("tools/call_frequency", 0.0),
            "model_tokens": values["completions/mean_length"],
            "loss": logs["loss"],
        }
        self.folder.append_metrics(self.state.global_step, metrics)
        self.seconds = dict.fromkeys(self.seconds, 0.0)


def tokenizer(path: str, agent: bool) -> PreTrainedTokenizerBase:
    loaded = AutoTokenizer.from_pretrained(path)
    if agent:
        loaded.chat_template, loaded.response_template = CHAT_TEMPLATE, RESPONSE_TEMPLATE
        loaded.eos_token = END_OF_CALL
    return loaded


def dataset(config: TrainConfig) -> Dataset:
    """Return the problems in the order of this project's trainer."""
    problems = load_problems(config.data, config.seed)
    order = ProblemOrder(len(problems), config.seed).indices(0, config.optimizer.steps * config.rollout.groups)
    system = tomllib.loads((Path(config.model_path) / "prompt.toml").read_text())[config.rollout.mode]
    return Dataset.from_list(
        [
            {
                "prompt": [{"role": "system", "content": system}, {"role": "user", "content": problems[index].text}],
                "gold": problems[index].answer,
            }
            for index in order
        ]
    )


def arguments(config: TrainConfig, folder: Path) -> GRPOConfig:
    rollout, optimizer, loss = config.rollout, config.optimizer, config.loss
    return GRPOConfig(
        output_dir=str(folder / "trl"),
        seed=config.seed,
        use_cpu=config.launch.cpu,
        bf16=False,
        gradient_checkpointing=False,  # would disable the cache during generation
        shuffle_dataset=False,
        per_device_train_batch_size=optimizer.micro_batch,
        gradient_accumulation_steps=config.accumulation,
        num_generations=rollout.samples,
        max_completion_length=rollout.max_tokens,
        max_tool_calling_iterations=rollout.max_steps - 1,
        temperature=rollout.temperature.start,
        top_p=1.0,
        top_k=0,
        max_steps=optimizer.steps,
        learning_rate=optimizer.learning_rate,
        lr_scheduler_type=optimizer.schedule,
        warmup_steps=optimizer.warmup,  # below 1: a share of the steps
        adam_beta1=optimizer.beta1,
        adam_beta2=optimizer.beta2,
        weight_decay=optimizer.weight_decay,
        max_grad_norm=optimizer.max_grad_norm,
        loss_type=loss.type,
        epsilon=loss.epsilon,
        beta=loss.beta,
        scale_rewards=loss.scale_rewards,
        reward_weights=[config.reward.accuracy, config.reward.code],
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )


def lora(config: TrainConfig) -> LoraConfig:
    assert config.lora
    return LoraConfig(
        r=config.lora.rank,
        lora_alpha=config.lora.alpha,
        use_rslora=config.lora.rslora,
        lora_dropout=config.lora.dropout,
        target_modules=config.lora.targets,
        task_type="CAUSAL_LM",
    )


def accuracy_reward(completions: list[Messages], gold: list[str], **_: object) -> list[float]:
    return [
        float(same_canonical_form(answer(messages), expected))
        for messages, expected in zip(completions, gold, strict=True)
    ]


def code_reward(completions: list[Messages], **_: object) -> list[float]:
    """Return 1 for each completion in which a snippet succeeded."""
    return [float(any(m["role"] == "tool" and succeeded(m["content"]) for m in one)) for one in completions]


def answer(messages: Messages) -> str:
    return extract_boxed("".join(m["content"] for m in messages if m["role"] == "assistant"))


if __name__ == "__main__":
    main(RunFolder(Path(sys.argv[1])))
