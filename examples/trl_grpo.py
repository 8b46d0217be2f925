"""A step of TRL's GRPO whose rollouts run Python in sandboxes: `python examples/trl_grpo.py [EXECUTOR [FOLDER]]`."""

import sys
from functools import partial

from datasets import Dataset
from transformers import AutoTokenizer
from trl import GRPOConfig, GRPOTrainer

from deepmath.data.synthetic import generate
from deepmath.integrations.trl import PythonEnvironment, RolloutSandboxes, accuracy_reward, use_tool_call_dialect
from deepmath.local_stack.stack import EMBEDDED_MODEL

executor, folder, *_ = [*sys.argv[1:], None, None]
rules = {"role": "system", "content": "Use Python."}  # as the embedded model was trained
problems = [
    {"prompt": [rules, {"role": "user", "content": problem.problem}], "answer": problem.answer}
    for problem in generate(16)
]
trainer = GRPOTrainer(
    str(EMBEDDED_MODEL),
    accuracy_reward,
    GRPOConfig(folder or "runs/trl", max_steps=1, logging_steps=1, num_generations=4, save_strategy="no", bf16=False),
    Dataset.from_list(problems),
    processing_class=use_tool_call_dialect(AutoTokenizer.from_pretrained(EMBEDDED_MODEL)),
    environment_factory=partial(PythonEnvironment, RolloutSandboxes(executor)),
)
trainer.train()
print(trainer.state.log_history[0])
