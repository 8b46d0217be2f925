"""Exit statuses of commands and services."""

EXIT_FAILURE = 1
EXIT_USAGE = 2  # incorrect usage or configuration, as in the shell: another attempt would fail again
EXIT_INTERRUPTED = 130  # 128 + SIGINT
EXIT_TERMINATED = 143  # 128 + SIGTERM
