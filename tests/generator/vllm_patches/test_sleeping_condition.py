"""vLLM's processes sleep while they wait, and miss no message."""

import asyncio
import multiprocessing
import random
import time
from multiprocessing.connection import Connection

import psutil
import pytest
from deepmath_generator.sampling_options import SamplingOptions
from deepmath_generator.vllm_patches.vllm_patch_error import VllmPatchError

pytestmark = pytest.mark.vllm

ROUNDS = 2000


@pytest.fixture
def shm_broadcast(monkeypatch: pytest.MonkeyPatch):
    """vLLM's module with `SpinCondition`, restored after the test."""
    import deepmath_generator.vllm_patches.cpu.sleeping_condition  # noqa: F401 - subclasses the original
    from vllm.distributed.device_communicators import shm_broadcast

    monkeypatch.setattr(shm_broadcast, "SpinCondition", shm_broadcast.SpinCondition)
    return shm_broadcast


def replace_spin_condition() -> None:
    from deepmath_generator.vllm_patches.cpu import sleeping_condition

    sleeping_condition.replace_spin_condition()


def test_replacement_is_idempotent_and_a_subclass(shm_broadcast) -> None:
    original = shm_broadcast.SpinCondition
    for _ in range(2):
        replace_spin_condition()
    assert shm_broadcast.SpinCondition.__name__ == "SleepingCondition"
    assert issubclass(shm_broadcast.SpinCondition, original)


def test_condition_with_another_signature_names_the_patch(shm_broadcast) -> None:
    shm_broadcast.SpinCondition = type("SpinCondition", (), {"__init__": lambda self, context: None})
    with pytest.raises(
        VllmPatchError, match=r"`cpu.sleeping_condition` .*\('context',\), not \('is_reader', 'context'"
    ):
        replace_spin_condition()


def test_missing_condition_names_the_patch(shm_broadcast) -> None:
    del shm_broadcast.SpinCondition
    with pytest.raises(VllmPatchError, match=r"`cpu.sleeping_condition` .*no attribute 'SpinCondition'"):
        replace_spin_condition()
    shm_broadcast.SpinCondition = None  # for the fixture to restore


async def test_waiting_processes_of_the_engine_use_no_processor_time(engine) -> None:
    await engine.generate(engine.tokenizer.encode("1"), SamplingOptions(1.0, 1.0, 0), max_tokens=8)
    processes = [child for child in psutil.Process().children(recursive=True) if child.name().startswith("VLLM")]
    assert len(processes) >= 2

    def processor_seconds() -> float:
        return sum(sum(process.cpu_times()[:2]) for process in processes)

    before = processor_seconds()
    await asyncio.sleep(0.8)
    assert processor_seconds() - before < 0.3


def answer(handle, connection: Connection) -> None:
    from vllm.distributed.device_communicators import shm_broadcast

    replace_spin_condition()
    questions, answers = shm_broadcast.MessageQueue.create_from_handle(handle, 0), shm_broadcast.MessageQueue(1, 1)
    connection.send(answers.export_handle())
    questions.wait_until_ready()
    answers.wait_until_ready()
    for _ in range(ROUNDS):
        answers.enqueue(questions.dequeue(timeout=60))


@pytest.mark.timeout(240)
def test_no_message_is_missed_at_any_interval_between_messages(shm_broadcast) -> None:
    replace_spin_condition()
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
