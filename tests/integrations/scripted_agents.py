"""Code agents whose snippets the test sets, and tools for them."""

from collections.abc import Iterable
from typing import Any

from smolagents import ActionStep, ChatMessage, CodeAgent, LogLevel, MessageRole, Model, tool


class ScriptedModel(Model):
    """Writes one snippet after the other, whatever the prompt."""

    def __init__(self, snippets: Iterable[str]) -> None:
        super().__init__(model_id="scripted")
        self._snippets = iter(snippets)

    def generate(self, messages: list[Any], **_: Any) -> ChatMessage:
        snippet = next(self._snippets, "'nothing more'")
        return ChatMessage(role=MessageRole.ASSISTANT, content=f"<code>\n{snippet}\n</code>")


def scripted_agent(executor: Any, snippets: Iterable[str], tools: Iterable[Any] = (), **options: Any) -> CodeAgent:
    """Return an agent that runs `snippets`."""
    return CodeAgent(
        tools=list(tools), model=ScriptedModel(snippets), executor=executor, verbosity_level=LogLevel.OFF, **options
    )


def run_snippets(executor: Any, snippets: list[str], tools: Iterable[Any] = ()) -> list[ActionStep]:
    """Run `snippets` in an agent, and return its steps, one per snippet."""
    agent = scripted_agent(executor, snippets, tools, max_steps=len(snippets))
    agent.run("Run your snippets.")
    return [step for step in agent.memory.steps if isinstance(step, ActionStep)][: len(snippets)]


def outcome(step: ActionStep) -> tuple[Any, ...]:
    """Return what the model reads of a step, and what the agent takes as its output."""
    error = None if step.error is None else str(step.error)
    return error, step.observations, repr(step.action_output), step.is_final_answer


@tool
def add(x: float, y: float) -> float:
    """Adds two numbers.

    Args:
        x: The first number.
        y: The second number.
    """
    return x + y


@tool
def lookup(key: str) -> dict[str, Any]:
    """Returns the entry of a key.

    Args:
        key: The key.
    """
    known = {"one": {"value": 1, "names": ["one", "uno"]}}
    if key not in known:
        raise KeyError(key)
    return known[key]


@tool
def refuse(reason: str) -> str:
    """Always fails.

    Args:
        reason: The reason.
    """
    raise ValueError(f"refused: {reason}")


TOOLS = [add, lookup, refuse]
