"""The command line. Heavy imports happen within commands, so that `--help` answers at once."""
