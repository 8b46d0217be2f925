"""The output layer computes with its own weights again after they have been packed."""

import pytest
from deepmath_generator.vllm_patches.cpu.output_layer import repack_output_layer
from deepmath_generator.vllm_patches.vllm_patch_error import VllmPatchError

pytestmark = pytest.mark.vllm


def test_layer_that_keeps_its_weight_computes_with_the_new_values() -> None:
    import torch
    from vllm.model_executor.layers.vocab_parallel_embedding import UnquantizedEmbeddingMethod

    layer = torch.nn.Linear(64, 32, bias=False)
    layer.quant_method = UnquantizedEmbeddingMethod()
    layer.quant_method.process_weights_after_loading(layer)
    x = torch.randn(3, 64)
    with torch.no_grad():
        layer.weight.mul_(2)
        repack_output_layer(torch.nn.Sequential(layer))
        torch.testing.assert_close(layer.cpu_linear(x, layer.weight, None), x @ layer.weight.T)


def test_model_without_packed_layers_names_the_patch() -> None:
    import torch

    with pytest.raises(VllmPatchError, match=r"`cpu.output_layer` .*cpu_linear"):
        repack_output_layer(torch.nn.Sequential(torch.nn.Linear(2, 2)))
