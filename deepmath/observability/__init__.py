"""What services tell of themselves: metrics, traces, logs."""
