"""The maths agent step by step: `python examples/math_agent.py "QUESTION" [HOST:PORT]`; in a browser with --ui.

By default it starts a local stack with the embedded model. `--ui` needs smolagents[gradio].
"""

import sys

from smolagents import ActionStep, FinalAnswerStep, GradioUI

from deepmath.integrations.smolagents import DeepMathModel, MathAgent


def main(question: str, address: str | None = None) -> None:
    """Solve `question`, and print each step when it finishes."""
    with DeepMathModel(address, temperature=0) as model:
        agent = MathAgent(model, verbosity_level=0)
        if question == "--ui":
            GradioUI(agent).launch(share=False)  # smolagents' default is a public address
            return
        for event in agent.run(question, stream=True):
            if isinstance(event, ActionStep):
                print(f"step {event.step_number}, {event.token_usage.output_tokens} tokens")
                print(event.code_action or event.model_output, "→", event.observations or event.action_output)
            elif isinstance(event, FinalAnswerStep):
                print("answer:", event.output)


if __name__ == "__main__":
    main(*sys.argv[1:])
