"""Patches of private parts of vLLM 0.32: one function or class each, with its reason and its upstream source or issue.

Nothing else in this service relies on names or layouts that vLLM does not document. `tests/generator/vllm_patches` has
a canary for each target, which fails when a vLLM release changes it.

- `flat_logprobs`: reads the sampled tokens' log-probabilities from vLLM's flat layout
- `lora_ranks`: the LoRA ranks for which vLLM can allocate memory
- `statistics_logger`: vLLM's statistics without its metrics
- `worker_methods`: methods of vLLM's workers, called by name
- `vllm_plugin`: preparation of vLLM's processes, run by vLLM's plugin entry point
- `startup_report`: reports the plugin's failures to the generator
- `cpu`: patches for the CPU backend
"""
