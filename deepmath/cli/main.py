"""The `deepmath` command: its subcommands, and the exit status of every failure."""

import os
import sys

import typer

from deepmath.cli.lazy_group import LazyGroup
from deepmath.cli.output_streams import protect_streams
from deepmath.errors import DeepMathError, InvalidRequest
from deepmath.exit_codes import EXIT_FAILURE, EXIT_INTERRUPTED, EXIT_USAGE
from deepmath.printable_text import print_error
from deepmath.rpc.core_logging import silence_core_logging

# The modules of `deepmath.cli.commands`, and the first sentence of each one's help.
COMMANDS = {
    "solve": "Solve one question, or a file of questions.",
    "exec": "Run Python in the sandbox.",
    "train": "Fine-tune a model with GRPO on problems with known answers.",
    "push": "Upload a run's adapter and model card to the Hugging Face Hub.",
    "eval": "Evaluate a model on benchmarks.",
    "grade": "Grade one answer, or a file of answers, as training and evaluation do.",
    "report": "Report evaluations as tables, plots and an HTML page.",
    "up": "Run an executor, a generator and a gateway on this machine until Ctrl-C.",
    "down": "Stop the detached stack of `deepmath up --detach`, and nothing else.",
    "serve": "Run one service in the foreground.",
    "contamination": "Find training problems that repeat each other or a test problem.",
    "problems": "Print generated problems with their answers as JSON lines.",
    "mcp": "Serve tools to an MCP client on stdin and stdout.",
    "kernel": "Install a Jupyter kernel whose cells run in the sandbox.",
    "doctor": "Check isolation layers, services and libraries on this machine.",
    "token": "Create an access token for a client.",
    "certs": "Create a development CA and certificates for mutual TLS.",
}


class DeepMathGroup(LazyGroup):
    """The group of all commands."""

    package = "deepmath.cli.commands"
    summaries = COMMANDS


app = typer.Typer(cls=DeepMathGroup, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.callback()
def deepmath() -> None:
    """Solve maths problems with a model that writes Python and a sandbox that runs it."""


def main() -> None:
    """Run the command line. Every failure ends in one line on stderr and an exit status, without a traceback."""
    silence_core_logging()
    protect_streams()
    try:
        app()
    except InvalidRequest as error:
        _exit(str(error), EXIT_USAGE)
    except DeepMathError as error:
        _exit(str(error), EXIT_FAILURE)
    except KeyboardInterrupt:
        _exit("interrupted", EXIT_INTERRUPTED)
    except BrokenPipeError:  # the reader of stdout is gone; nobody would read a message
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_FAILURE)
    except OSError as error:
        if not error.strerror:
            raise
        _exit(f"{error.strerror}: {error.filename}" if error.filename else error.strerror, EXIT_FAILURE)


def _exit(message: str, status: int) -> None:
    print_error("deepmath", message)
    sys.exit(status)
