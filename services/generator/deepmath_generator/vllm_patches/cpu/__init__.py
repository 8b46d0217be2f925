"""Patches of vLLM's CPU backend.

- `cpu_arguments`: engine arguments that avoid defects of the CPU backend
- `sleeping_condition`: processes sleep instead of spinning while they wait for messages
- `grouped_lora`: one LoRA product per adapter instead of one per token
- `truncated_sampling`: top-k and top-p without sorting the vocabulary
- `output_layer`: the output layer follows reloaded weights
- `worker_extension`: applies the patches in vLLM's workers
"""
