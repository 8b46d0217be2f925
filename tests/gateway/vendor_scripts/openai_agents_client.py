"""langchain-openai and openai-agents: `openai_agents_client.py AGENT CHAT`, with address and key in the environment.

Prints JSON. The chat model calls the function `add`.
"""

import asyncio
import json
import sys

from agents import Agent, OpenAIChatCompletionsModel, OpenAIResponsesModel, Runner, function_tool, set_tracing_disabled
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI
from openai import AsyncOpenAI

QUESTION = "What is 1 + 2?"


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def langchain(agent: str, chat: str) -> dict:
    """Return what langchain-openai gets of both models and both APIs."""
    model = ChatOpenAI(model=agent, seed=1, stream_usage=True)
    answer = model.invoke(QUESTION)
    chunks = list(model.stream(QUESTION))
    responses = ChatOpenAI(model=agent, use_responses_api=True).invoke(QUESTION)
    calling = ChatOpenAI(model=chat).bind_tools([add])
    question = HumanMessage(QUESTION)
    called = calling.invoke([question])
    (call,) = called.tool_calls
    output = ToolMessage(str(add(**call["args"])), tool_call_id=call["id"])
    return {
        "answer": answer.content,
        "usage": answer.usage_metadata,
        "streamed": "".join(chunk.content for chunk in chunks),
        "blocks": [block["type"] for block in responses.content],
        "responses": responses.text,
        "call": [call["name"], call["args"]],
        "final": calling.invoke([question, called, output]).content,
    }


async def agents(agent: str, chat: str) -> dict:
    """Return what openai-agents gets of both models and both APIs."""
    set_tracing_disabled(True)
    seen: dict = {}
    async with AsyncOpenAI() as client:
        for name, kind in (("chat", OpenAIChatCompletionsModel), ("responses", OpenAIResponsesModel)):
            adder = Agent(name="adder", model=kind(chat, client), tools=[function_tool(add)])
            seen[f"{name} with function"] = (await Runner.run(adder, QUESTION)).final_output
            solver = Agent(name="solver", instructions="Be brief.", model=kind(agent, client))
            seen[f"{name} of the agent"] = (await Runner.run(solver, QUESTION)).final_output
        streamed = Runner.run_streamed(solver, QUESTION)
        kinds = [event.data.type async for event in streamed.stream_events() if event.type == "raw_response_event"]
        seen["streamed"] = [streamed.final_output, sorted({kind for kind in kinds if "code_interpreter" in kind})]
        again = [*streamed.to_input_list(), {"role": "user", "content": "Sure?"}]
        seen["second turn"] = (await Runner.run(solver, again)).final_output
    return seen


if __name__ == "__main__":
    names = sys.argv[1:]
    print(json.dumps({"langchain": langchain(*names), "agents": asyncio.run(agents(*names))}))
