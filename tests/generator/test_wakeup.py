"""Processes of vLLM leave the cores to others while they wait, and miss no message."""

import asyncio
import multiprocessing
import random
import time
from multiprocessing.connection import Connection

import psutil
import pytest
from deepmath_generator.sampling_options import SamplingOptions
from deepmath_generator.vllm_engine import VllmEngine
from deepmath_generator.vllm_patches.cpu.sleeping_condition import SleepingCondition
from vllm.distributed.device_communicators import shm_broadcast

ROUNDS = 2000


async def test_processes_of_the_engine_leave_the_cores_to_others_as_soon_as_they_wait(engine: VllmEngine) -> None:
    await engine.generate(engine.tokenizer.encode("1"), SamplingOptions(1.0, 1.0, 0), max_tokens=8, tools=False)
    processes = [one for one in psutil.Process().children(recursive=True) if one.name().startswith("VLLM")]
    assert len(processes) >= 2

    def used() -> float:
        return sum(sum(one.cpu_times()[:2]) for one in processes)

    before = used()
    await asyncio.sleep(0.8)
    assert used() - before < 0.3


def answer(handle: shm_broadcast.Handle, connection: Connection) -> None:
    shm_broadcast.SpinCondition = SleepingCondition
    questions, answers = shm_broadcast.MessageQueue.create_from_handle(handle, 0), shm_broadcast.MessageQueue(1, 1)
    connection.send(answers.export_handle())
    questions.wait_until_ready()
    answers.wait_until_ready()
    for _ in range(ROUNDS):
        answers.enqueue(questions.dequeue(timeout=60))


@pytest.mark.timeout(240)
def test_no_message_is_missed_however_quickly_the_next_one_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shm_broadcast, "SpinCondition", SleepingCondition)
    pauses, here, there = random.Random(0), *multiprocessing.Pipe()
    questions = shm_broadcast.MessageQueue(1, 1)
    process = multiprocessing.get_context("spawn").Process(target=answer, args=(questions.export_handle(), there))
    process.start()
    try:
        assert here.poll(120), "the other process did not start"
        answers = shm_broadcast.MessageQueue.create_from_handle(here.recv(), 0)
        questions.wait_until_ready()
        answers.wait_until_ready()
        for number in range(ROUNDS):
            time.sleep(pauses.choice([0, 0.001 * pauses.random()]))
            questions.enqueue(number)
            assert answers.dequeue(timeout=20) == number
    finally:
        process.kill()
        process.join()
