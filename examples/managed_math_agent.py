"""A code agent that manages a maths agent: `python examples/managed_math_agent.py "TASK" HOST:PORT [HOST:PORT]`.

The first address is the generator of the code agent: a general model with a context of 16 000 tokens or more. The
second is the generator of the maths agent; default: the same. The code agent's own snippets run in the sandbox.
"""

import sys

from smolagents import CodeAgent

from deepmath.integrations.smolagents import DeepMathExecutor, DeepMathModel, MathAgent


def main(task: str, general: str, maths: str | None = None) -> None:
    """Run `task`, and print its result and its token counts."""
    with (
        DeepMathModel(general, max_tokens=2000) as model,
        DeepMathModel(maths or general) as solver,
        DeepMathExecutor() as executor,
    ):
        mathematician = MathAgent(
            solver,
            name="mathematician",
            description="Solves one self-contained maths problem exactly. Give it the whole problem in words.",
            provide_run_summary=True,
            verbosity_level=0,
        )
        agent = CodeAgent([], model, managed_agents=[mathematician], executor=executor, verbosity_level=0)
        result = agent.run(task, return_full_result=True)
        print(result.output)
        print(f"{result.token_usage.total_tokens} tokens; last run of the mathematician: ", end="")
        print(mathematician.monitor.get_total_token_counts().total_tokens)


if __name__ == "__main__":
    main(*sys.argv[1:])
