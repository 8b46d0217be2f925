"""How the processes of vLLM 0.32 wait for each other's messages on a CPU: asleep, until a message's socket wakes them.

vLLM's own condition asks without pause, for a second after each message, whether there is another: half of a core,
which the model, the sandboxes or a trainer would use.
"""

import zmq
from vllm.distributed.device_communicators.shm_broadcast import SpinCondition

_MOST_MS = 50  # asleep: a conflating socket may, within some nanoseconds, miss that its message came (libzmq 4.3)


class SleepingCondition(SpinCondition):  # type: ignore[misc]
    """Takes the place of `SpinCondition` in `shm_broadcast`, and does not spin."""

    def __init__(self, is_reader: bool, context: zmq.Context[zmq.Socket[bytes]], notify_address: str) -> None:
        if is_reader:
            super().__init__(True, context, notify_address, busy_loop_s=0.0)
            return
        # As there, but for the bound of one message on its way, beyond which a socket drops what it is given: the
        # second of two messages within a millisecond would wake nobody. The ring of messages has a bound of its own.
        self.is_reader = False
        self.local_notify_socket = context.socket(zmq.PUB)
        self.local_notify_socket.setsockopt(zmq.SNDHWM, 0)
        self.local_notify_socket.bind(notify_address)
        self.last_read = self.busy_loop_s = 0
        self.read_cancel_socket = self.write_cancel_socket = self.poller = None

    def wait(self, timeout_ms: int | None = None) -> None:
        super().wait(_MOST_MS if timeout_ms is None else min(timeout_ms, _MOST_MS))
