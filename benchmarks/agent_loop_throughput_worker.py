"""Generator of `agent_loop_throughput`: the service, and on request its engine alone, in a process pinned to cores."""

import asyncio
import json
import os
import sys
import time

from deepmath_generator.config import GeneratorConfig
from deepmath_generator.inference_engine import InferenceEngine
from deepmath_generator.sampling_options import SamplingOptions
from deepmath_generator.vllm_environment import set_vllm_environment

from benchmarks.agent_loop_throughput import IN_FLIGHT, MAX_TOKENS
from deepmath.clients import ExecutorClient
from deepmath.local_stack.stack import EMBEDDED_MODEL
from deepmath.serving.grpc_server import GrpcServer


async def main(executor: str, cores: str) -> None:
    config = GeneratorConfig(model=str(EMBEDDED_MODEL), dtype="float32", eager=True, max_trajectories=IN_FLIGHT)
    set_vllm_environment(config)
    pinned = [int(core) for core in cores.split(",")]
    os.sched_setaffinity(0, pinned)
    if len(pinned) == 1:
        os.environ["VLLM_CPU_OMP_THREADS_BIND"] = cores
    from deepmath_generator.prompt_template import PromptTemplate
    from deepmath_generator.service import SERVICE_NAME, GeneratorServicer
    from deepmath_generator.vllm_engine import VllmEngine

    template = PromptTemplate.load(config.model)
    engine = VllmEngine.start(config)
    await engine.warm_up()
    questions = json.loads(sys.stdin.readline())
    prompts = [template.encode(engine.tokenizer, question, "agent") for question in questions]
    client = ExecutorClient(executor)
    server = await GrpcServer.start(
        config, {SERVICE_NAME: GeneratorServicer(config, engine, client, template).register}
    )
    print(f"= {server.address}", flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        print(f"= {await raw_rate(engine, prompts)}", flush=True)
    await server.stop(0)
    await client.close()
    engine.stop()


async def raw_rate(engine: InferenceEngine, prompts: list[list[int]]) -> float:
    """Return the tokens per second of `IN_FLIGHT` concurrent requests without tools."""
    free = asyncio.Semaphore(IN_FLIGHT)

    async def sample(prompt: list[int]) -> int:
        async with free:
            options = SamplingOptions(1.0, 1.0, 0)
            sampled = await engine.generate(prompt, options, max_tokens=MAX_TOKENS)
            return len(sampled.token_ids)

    started = time.perf_counter()
    tokens = sum(await asyncio.gather(*map(sample, prompts)))
    return tokens / (time.perf_counter() - started)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
