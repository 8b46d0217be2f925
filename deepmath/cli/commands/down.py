"""`deepmath down`: the end of the detached stack."""

from deepmath.cli.lazy_group import command_app
from deepmath.cli.stack_status import log_folder
from deepmath.local_stack.detached_stack import stop_detached

app = command_app()


@app.command()
def down() -> None:
    """Stop the detached stack of `deepmath up --detach`, and nothing else. Calls in flight get 20 seconds."""
    if stop_detached() is None:
        print("no detached stack")
    else:
        print(f"stopped; its logs are in {log_folder()}")
