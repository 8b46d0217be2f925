"""inspect-ai on a file of problems: `inspect_ai_eval.py FILE LOGS MODEL`; prints the mean score as JSON.

The address and key are DEEPMATH_BASE_URL and DEEPMATH_API_KEY of inspect-ai's provider `openai-api`.
"""

import json
import sys

from inspect_ai import Task, eval
from inspect_ai.dataset import FieldSpec, json_dataset
from inspect_ai.scorer import includes
from inspect_ai.solver import generate

if __name__ == "__main__":
    file, logs, model = sys.argv[1:]
    problems = json_dataset(file, FieldSpec(input="problem", target="answer"))
    task = Task(dataset=problems, solver=generate(), scorer=includes())
    (log,) = eval(task, model=f"openai-api/deepmath/{model}", log_dir=logs, display="none", max_tokens=2000, seed=1)
    usage = next(iter(log.stats.model_usage.values()))
    print(
        json.dumps(
            {
                "status": log.status,
                "accuracy": log.results.scores[0].metrics["accuracy"].value,
                "samples": len(log.samples),
                "output": log.samples[0].output.completion,
                "tokens": [usage.input_tokens, usage.output_tokens],
            }
        )
    )
