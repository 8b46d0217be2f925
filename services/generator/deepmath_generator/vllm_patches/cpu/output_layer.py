"""Packed weights of the output layer, packed again after the weights have been reloaded.

Reason: on a CPU, layers compute with packed copies of their weights, and embedding and output layer keep the originals
beside them. If both share one weight, reloading packs the embedding's copy only, and the model computes its logits with
the old weights.

Source: `UnquantizedEmbeddingMethod.process_weights_after_loading`
(vllm/model_executor/layers/vocab_parallel_embedding.py), and `dispatch_cpu_unquantized_gemm`
(vllm/model_executor/layers/utils.py), which sets `cpu_linear`.
"""

from typing import Any

from deepmath_generator.vllm_patches.vllm_patch_error import applying


def repack_output_layer(model: Any) -> None:
    """Pack the weights of all layers of `model` that keep their originals.

    Raises:
        VllmPatchError: No layer has packed weights.
    """
    with applying("cpu.output_layer"):
        packed = [layer for layer in model.modules() if hasattr(layer, "cpu_linear")]
        if not packed:
            raise LookupError("no layer has the attribute `cpu_linear`")
        for layer in packed:
            if layer.weight.numel():  # the original has been kept
                layer.quant_method.process_weights_after_loading(layer)
