"""Exit statuses of the commands."""

EXIT_FAILURE = 1
EXIT_USAGE = 2  # what a shell expects of a command that was called wrongly
EXIT_INTERRUPTED = 130  # 128 + SIGINT
