"""GetInfo reports whether the generator reaches an executor."""

from deepmath_generator.executor_reachability import ExecutorReachability

from deepmath.clients import ExecutorClient


async def test_failure_says_why_no_executor_can_be_reached(free_port) -> None:
    async with ExecutorClient(f"127.0.0.1:{free_port}") as client:
        failure = await ExecutorReachability(client).failure()
    assert failure.startswith(f"the executor at 127.0.0.1:{free_port} cannot be reached")


async def test_no_failure_with_an_executor_or_without_an_address(executor) -> None:
    assert await ExecutorReachability(executor).failure() == ""
    assert await ExecutorReachability(None).failure() == ""


async def test_failure_ends_when_an_executor_appears(executor, free_port) -> None:
    async with ExecutorClient(f"127.0.0.1:{free_port}") as nobody:
        reachability = ExecutorReachability(nobody)
        assert await reachability.failure()
        reachability._client = executor
        assert await reachability.failure(), "the last answer is used for a while"
        reachability._expires = 0.0
        assert await reachability.failure() == ""
