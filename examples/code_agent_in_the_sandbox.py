"""A smolagents code agent whose snippets run in the sandbox, while its tools run in this process.

    python examples/code_agent_in_the_sandbox.py [ADDRESS]

ADDRESS is that of an executor (`deepmath serve executor`); by default an embedded executor is started. The model is a
script, and the example needs no other: replace it with any smolagents model.
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


class ScriptModel(Model):
    """Writes SNIPPETS in order."""

    def __init__(self) -> None:
        super().__init__(model_id="script")
        self._remaining = iter(SNIPPETS)

    def generate(self, *_: Any, **__: Any) -> ChatMessage:
        """Return the next snippet."""
        return ChatMessage(role=MessageRole.ASSISTANT, content=f"<code>\n{next(self._remaining)}\n</code>")


@tool
def limit() -> int:
    """Returns the limit of the search. It runs in this process, and could read a file or use the network."""
    return 100


if __name__ == "__main__":
    with DeepMathExecutor(executor=sys.argv[1] if len(sys.argv) > 1 else None) as executor:
        agent = CodeAgent([limit], ScriptModel(), executor=executor, verbosity_level=LogLevel.OFF)
        print("final answer:", agent.run("What is the sum of the primes below the limit?"))
        for step in agent.memory.steps[1:]:
            print(getattr(step, "error", None) or getattr(step, "observations", "").replace("\n", " "))
