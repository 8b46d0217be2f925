"""Entry point of the `deepmath` command."""

import sys

from deepmath.exit_codes import EXIT_INTERRUPTED
from deepmath.serving.sigterm_exit import exit_on_sigterm


def main() -> None:
    """Run the command line. SIGTERM exits it with cleanup: it stops the services that it started."""
    exit_on_sigterm()
    try:
        from deepmath.cli.main import main as run  # takes time
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    run()
