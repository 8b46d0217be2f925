"""A model that says what a test tells it to, to drive agents with; and tools for their snippets."""

from collections.abc import Iterable
from typing import Any

from smolagents import ActionStep, ChatMessage, CodeAgent, LogLevel, MessageRole, Model, tool


class Scripted(Model):
    """Writes one snippet after the other, whatever it is asked."""

    def __init__(self, snippets: Iterable[str]) -> None:
        super().__init__(model_id="scripted")
        self._snippets = iter(snippets)

    def generate(self, messages: list[Any], **_: Any) -> ChatMessage:
        snippet = next(self._snippets, "'nothing more'")
        return ChatMessage(role=MessageRole.ASSISTANT, content=f"<code>\n{snippet}\n</code>")


def agent_of(executor: Any, snippets: Iterable[str], tools: Iterable[Any] = (), **options: Any) -> CodeAgent:
    """Return an agent that will run `snippets`."""
    return CodeAgent(
        tools=list(tools), model=Scripted(snippets), executor=executor, verbosity_level=LogLevel.OFF, **options
    )


def steps(executor: Any, snippets: list[str], tools: Iterable[Any] = ()) -> list[ActionStep]:
    """Let an agent run `snippets` and return what came of each."""
    agent = agent_of(executor, snippets, tools, max_steps=len(snippets))
    agent.run("Run your snippets.")
    return [step for step in agent.memory.steps if isinstance(step, ActionStep)][: len(snippets)]


def told(step: ActionStep) -> tuple[Any, ...]:
    """Return what the model is told of a step, and what the agent takes as its output."""
    error = None if step.error is None else str(step.error)
    return error, step.observations, repr(step.action_output), step.is_final_answer


@tool
def add(x: float, y: float) -> float:
    """Adds two numbers.

    Args:
        x: One of them.
        y: The other.
    """
    return x + y


@tool
def lookup(key: str) -> dict:
    """Returns what there is about a key.

    Args:
        key: What to look for.
    """
    known = {"one": {"value": 1, "names": ["one", "uno"]}}
    if key not in known:
        raise KeyError(key)
    return known[key]


@tool
def refuse(reason: str) -> str:
    """Never does anything.

    Args:
        reason: Why.
    """
    raise ValueError(f"refused: {reason}")


TOOLS = [add, lookup, refuse]
