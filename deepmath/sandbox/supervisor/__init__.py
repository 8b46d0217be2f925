"""The trusted side of a sandbox: fork server, process, pool, meters."""
