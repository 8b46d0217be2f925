r"""A taskset for verifiers and prime-rl: synthetic problems that a model solves with Python in our sandboxes.

PYTHONPATH=examples vf-eval maths-with-python -n 8 --model MODEL --client.base-url http://HOST:PORT/v1 \
    --env.agent.harness.id null --env.agent.runtime.type subprocess --no-push
"""

from deepmath.integrations.verifiers import MathsTaskset

__all__ = ["MathsTaskset"]
