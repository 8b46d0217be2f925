"""Exit statuses of commands and services."""

EXIT_FAILURE = 1
EXIT_USAGE = 2  # the shell convention for incorrect usage
EXIT_INTERRUPTED = 130  # 128 + SIGINT
EXIT_TERMINATED = 143  # 128 + SIGTERM
