"""Isolation layers of the kernel: namespaces, Landlock, seccomp, resource limits, control groups."""
