"""`deepmath`: one command, one file per subcommand."""

import os
import sys

import typer

from deepmath.cli.commands import certs, doctor, eval, exec, problems, push, report, serve, solve, token, train, up
from deepmath.exit_codes import EXIT_FAILURE, EXIT_INTERRUPTED, EXIT_USAGE

app = typer.Typer(
    name="deepmath",
    help="Solve maths problems with a model that writes Python and a sandbox that runs it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(solve.solve)
app.command("exec")(exec.exec_)
app.command()(train.train)
app.command()(push.push)
app.command("eval")(eval.eval_)
app.command()(report.report)
app.command()(up.up)
app.command(context_settings=serve.PASS_ON)(serve.serve)
app.command()(problems.problems)
app.command()(doctor.doctor)
app.command()(token.token)
app.add_typer(certs.certs, name="certs")


def main() -> None:
    """Run the command line. Whatever goes wrong ends with one clear line and an exit status, never a traceback."""
    from deepmath.errors import DeepMathError, InvalidRequest
    from deepmath.rpc.core_logging import silence_core_logging

    silence_core_logging()

    try:
        app()
    except InvalidRequest as error:
        _end(str(error), EXIT_USAGE)
    except DeepMathError as error:
        _end(str(error), EXIT_FAILURE)
    except KeyboardInterrupt:
        _end("interrupted", EXIT_INTERRUPTED)
    except BrokenPipeError:  # the reader of our output has gone: nothing to tell, nowhere to tell it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_FAILURE)


def _end(message: str, status: int) -> None:
    print(f"deepmath: {message}", file=sys.stderr)
    sys.exit(status)
