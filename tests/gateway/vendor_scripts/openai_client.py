"""OpenAI's client: `openai_client.py tour MODEL CHAT_MODEL` or `leave MODEL FILE`; prints JSON.

The address and the key are in the environment.
"""

import asyncio
import json
import sys
import time
from pathlib import Path

import openai

QUESTION = "What is the greatest common divisor of 84 and 126?"
MESSAGES = [{"role": "user", "content": QUESTION}]


def refused(call) -> list:
    """Return class, status and code of the error that `call` raises."""
    try:
        call()
    except openai.APIError as error:
        return [type(error).__name__, getattr(error, "status_code", None), error.code]
    return []


def completions(client: openai.OpenAI, model: str, chat: str) -> dict:
    """Return what chat completions give, whole and as a stream."""
    create = client.chat.completions.create
    whole = create(model=model, messages=MESSAGES, seed=1, extra_body={"return_token_ids": True}, logprobs=True)
    four = create(model=chat, messages=MESSAGES, seed=1, n=4, max_tokens=20, stop=["\n\n"], temperature=1)
    options = {"stream": True, "stream_options": {"include_usage": True}}
    chunks = list(create(model=model, messages=MESSAGES, seed=1, **options))
    choices = [chunk.choices[0] for chunk in chunks if chunk.choices]
    return {
        "content": whole.choices[0].message.content,
        "reasoning": whole.choices[0].message.reasoning,
        "finish": whole.choices[0].finish_reason,
        "ids": len(whole.choices[0].token_ids),
        "mask": whole.choices[0].token_mask,
        "logprobs": len(whole.choices[0].logprobs.content),
        "usage": whole.usage.model_dump(),
        "streamed": "".join(choice.delta.content or "" for choice in choices),
        "streamed finish": choices[-1].finish_reason,
        "streamed usage": chunks[-1].usage.model_dump(),
        "four": [choice.index for choice in four.choices],
    }


def responses(client: openai.OpenAI, model: str) -> dict:
    """Return what responses give, whole and as a stream."""
    options = {"model": model, "input": QUESTION, "extra_body": {"seed": 1}}
    whole = client.responses.create(**options, instructions="Be brief.")
    with client.responses.stream(**options) as events:
        kinds = [event.type for event in events]
        final = events.get_final_response()
    return {
        "text": whole.output_text,
        "items": [item.type for item in whole.output],
        "usage": whole.usage.model_dump(),
        "kinds": kinds,
        "final text": final.output_text,
        "code": [
            [item.code, [output.logs for output in item.outputs]]
            for item in final.output
            if item.type == "code_interpreter_call"
        ],
    }


def errors(client: openai.OpenAI, model: str) -> dict:
    """Return how mistakes and a timeout arrive."""
    create = client.chat.completions.create
    late = client.with_options(timeout=0.001, max_retries=0)
    return {
        "model": refused(lambda: create(model="gpt-4o", messages=MESSAGES)),
        "role": refused(lambda: create(model=model, messages=[{"role": "critic", "content": "?"}])),
        "top_logprobs": refused(lambda: create(model=model, messages=MESSAGES, logprobs=True, top_logprobs=5)),
        "timeout": refused(lambda: late.chat.completions.create(model=model, messages=MESSAGES)),
    }


async def leave(model: str, signal: Path) -> dict:
    """Leave a stream once the file `signal` exists; return the time of that moment on the clock of the machine."""
    async with openai.AsyncOpenAI() as client:
        stream = await client.chat.completions.create(model=model, messages=MESSAGES, stream=True)
        async for _ in stream:
            break
        while not signal.exists():  # noqa: ASYNC110, ASYNC240
            await asyncio.sleep(0.01)
        await stream.close()
        left = time.monotonic()
        await asyncio.sleep(3)  # the process itself is still there
    return {"left": left}


if __name__ == "__main__":
    case, model, chat = sys.argv[1:]
    if case == "leave":
        print(json.dumps(asyncio.run(leave(model, Path(chat)))))
    else:
        with openai.OpenAI() as client:
            seen = {"models": [card.id for card in client.models.list()]}
            seen |= {"completions": completions(client, model, chat), "responses": responses(client, model)}
            print(json.dumps(seen | {"errors": errors(client, model)}))
