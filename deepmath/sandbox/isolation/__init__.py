"""Kernel layers of isolation: namespaces, Landlock, seccomp, resource limits, control groups."""
