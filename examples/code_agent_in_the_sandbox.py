"""An agent of smolagents whose snippets run in the sandbox, while its tools run here.

    python examples/code_agent_in_the_sandbox.py [ADDRESS]

ADDRESS is that of an executor (`deepmath serve executor`); without one an embedded executor is started. The model is a
script, so that this runs without one: put any model of smolagents in its place.
"""

import sys
from typing import Any

from smolagents import ChatMessage, CodeAgent, LogLevel, MessageRole, Model, tool

from deepmath.integrations.smolagents import DeepMathExecutor

SNIPPETS = [
    "primes = [n for n in range(2, limit()) if all(n % d for d in range(2, n))]\nprint(len(primes), 'primes')",
    "import random\nrandom._os.system('rm -rf /')\nopen('/etc/passwd')",
    "final_answer(sum(primes))",
]


class Script(Model):
    """Writes SNIPPETS one after the other."""

    def __init__(self) -> None:
        super().__init__(model_id="script")
        self._left = iter(SNIPPETS)

    def generate(self, *_: Any, **__: Any) -> ChatMessage:
        """Return the next snippet."""
        return ChatMessage(role=MessageRole.ASSISTANT, content=f"<code>\n{next(self._left)}\n</code>")


@tool
def limit() -> int:
    """Says up to where to look. It runs in this process, and could look into a file or ask the network."""
    return 100


if __name__ == "__main__":
    with DeepMathExecutor(executor=sys.argv[1] if len(sys.argv) > 1 else None) as executor:
        agent = CodeAgent([limit], Script(), executor=executor, verbosity_level=LogLevel.OFF)
        print("final answer:", agent.run("What is the sum of the primes below the limit?"))
        for step in agent.memory.steps[1:]:
            print(getattr(step, "error", None) or getattr(step, "observations", "").replace("\n", " "))
