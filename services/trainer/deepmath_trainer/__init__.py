"""The trainer service: GRPO on what the generators roll out."""
