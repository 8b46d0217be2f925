"""The detached stack as `deepmath up` shows it."""

import asyncio
import time
from datetime import timedelta

from deepmath.errors import DeepMathError
from deepmath.local_stack.detached_stack import find_detached, read_detached
from deepmath.local_stack.gateway_key import GatewayKey
from deepmath.local_stack.stack_idle_time import stack_clients, stack_idle_seconds
from deepmath.local_stack.stack_record import StackRecord
from deepmath.local_stack.state_folder import StateFolder
from deepmath.printable_text import printable_line


def show_stack(record: StackRecord) -> None:
    """Print the addresses, model and logs of a stack."""
    print(f"executor   {printable_line(record.executor)}")
    if record.generator:
        print(f"generator  {printable_line(record.generator)}")
    if record.gateway:
        key = GatewayKey.within(StateFolder().path).file
        print(f"gateway    http://{printable_line(record.gateway)} (API key in {printable_line(str(key))})")
    print(f"serves     {printable_line(record.settings.title)}")
    print(f"logs       {log_folder()}")


def show_status() -> bool:
    """Print the state of the detached stack, and return whether it serves.

    Raises:
        InvalidRequest: The state folder is not trusted.
    """
    record = read_detached()
    if record is None:
        print("no detached stack; `deepmath up --detach` starts one")
        return False
    found = find_detached()
    if found.stack is None:
        print(printable_line(found.reason) or f"starting (process {record.keeper.pid})")
        print(f"logs       {log_folder()}")
        return False
    show_stack(record)
    print(f"up         {timedelta(seconds=int(time.time() - record.started))} (process {record.keeper.pid})")
    limit = (
        f"stops after {timedelta(seconds=int(record.idle_s))} without calls"
        if record.idle_s
        else "never stops by itself"
    )
    print(f"idle       {_idle_time(record)}; {limit}")
    return True


def log_folder() -> str:
    """Return the folder of the detached services' logs."""
    return printable_line(str(StateFolder().logs))


def _idle_time(record: StackRecord) -> str:
    async def measure() -> float:
        async with stack_clients(record) as clients:
            return await stack_idle_seconds(clients)

    try:
        return str(timedelta(seconds=int(asyncio.run(measure()))))
    except DeepMathError as error:
        return f"unknown ({printable_line(str(error))})"
