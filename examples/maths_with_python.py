"""A taskset for verifiers and prime-rl: synthetic problems that a model solves with Python in our sandboxes.

`PYTHONPATH=examples vf-eval maths-with-python -n 8 --env.agent.harness.id null --model MODEL --client.base-url URL`
"""

from deepmath.integrations.verifiers import MathsTaskset

__all__ = ["MathsTaskset"]
