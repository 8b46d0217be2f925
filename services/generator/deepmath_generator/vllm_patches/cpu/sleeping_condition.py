"""Condition variable between vLLM's processes that sleeps until a message arrives.

Reason: `SpinCondition` polls without pause for a second after each message. On a CPU that is half a core that the
model, the sandboxes or a trainer would use.

Source: vllm/distributed/device_communicators/shm_broadcast.py, `SpinCondition`, whose spinning time is a constant at
its callers; the issue is vllm-project/vllm#52916, and vllm-project/vllm#52814 would make the time configurable.
"""

import zmq
from vllm.distributed.device_communicators import shm_broadcast

from deepmath_generator.vllm_patches.vllm_patch_error import VllmPatchError, applying, require_parameters

_PATCH = "cpu.sleeping_condition"
# Bound of one sleep: within nanoseconds, a conflating socket may miss that a message has arrived (libzmq 4.3).
_MAX_SLEEP_MS = 50
_SpinCondition = getattr(shm_broadcast, "SpinCondition", object)


class SleepingCondition(_SpinCondition):  # type: ignore[misc,valid-type]
    """Replacement of `SpinCondition` that does not spin."""

    def __init__(self, is_reader: bool, context: zmq.Context[zmq.Socket[bytes]], notify_address: str) -> None:
        if is_reader:
            super().__init__(True, context, notify_address, busy_loop_s=0.0)
            return
        # The writer of `SpinCondition`, but without its send limit of one message, beyond which a socket drops
        # messages: the second of two notifications within a millisecond would wake no reader. The ring buffer limits
        # the number.
        self.is_reader = False
        self.local_notify_socket = context.socket(zmq.PUB)
        self.local_notify_socket.setsockopt(zmq.SNDHWM, 0)
        self.local_notify_socket.bind(notify_address)
        self.last_read = self.busy_loop_s = 0
        self.read_cancel_socket = self.write_cancel_socket = self.poller = None

    def wait(self, timeout_ms: int | None = None) -> None:
        super().wait(_MAX_SLEEP_MS if timeout_ms is None else min(timeout_ms, _MAX_SLEEP_MS))


def replace_spin_condition() -> None:
    """Replace `SpinCondition` in this process.

    Raises:
        VllmPatchError: It is missing or has another signature.
    """
    with applying(_PATCH):
        target = shm_broadcast.SpinCondition
        if target is not SleepingCondition:
            require_parameters(target.__init__, "is_reader", "context", "notify_address", "busy_loop_s")
            require_parameters(target.wait, "timeout_ms")
            shm_broadcast.SpinCondition = SleepingCondition


def check_replaced() -> None:
    """Check that `SpinCondition` is replaced in this process.

    Raises:
        VllmPatchError: It is not.
    """
    if shm_broadcast.SpinCondition is not SleepingCondition:
        raise VllmPatchError(_PATCH, "vLLM did not run the plugin `deepmath` in this worker")
