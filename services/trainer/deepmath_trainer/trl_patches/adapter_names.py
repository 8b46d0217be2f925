"""The names that TRL gives to the LoRA adapters of a model."""

POLICY = "default"
"""The adapter that is trained: peft's default name."""
REFERENCE = "ref"
"""Its frozen copy, the reference of the KL divergence: a literal in `GRPOTrainer.__init__` and
`_generate_and_score_completions`."""
