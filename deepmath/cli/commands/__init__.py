"""The subcommands: one module each, imported when the command runs (see `deepmath.cli.lazy_group`)."""
