"""The services as child processes on this machine, and the embedded model."""
