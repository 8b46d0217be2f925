"""Canary: peft keeps the factors of LoRA adapters where `peft_patches` reads them."""


def test_factors_give_the_change_of_each_layer() -> None:
    import torch
    from deepmath_trainer.peft_patches.lora_factors import lora_factors
    from peft import LoraConfig, get_peft_model

    base = torch.nn.Sequential(torch.nn.Linear(8, 12), torch.nn.Linear(12, 6))
    model = get_peft_model(base, LoraConfig(r=3, lora_alpha=6, target_modules=["0", "1"]))
    layers = [layer for layer in model.modules() if hasattr(layer, "get_delta_weight")]
    factors = list(lora_factors(model, "default"))
    assert len(factors) == len(layers) == 2
    for layer, ((up, down),) in zip(layers, factors, strict=True):
        up.normal_()  # writable in place
        torch.testing.assert_close(layer.get_delta_weight("default"), layer.scaling["default"] * up @ down)


def test_layers_without_all_adapters_are_skipped() -> None:
    import torch
    from deepmath_trainer.peft_patches.lora_factors import lora_factors
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(torch.nn.Sequential(torch.nn.Linear(8, 12)), LoraConfig(r=3, target_modules=["0"]))
    assert list(lora_factors(model, "default", "ref")) == []
