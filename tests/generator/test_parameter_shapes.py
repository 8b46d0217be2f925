"""Adapters that peft itself writes pass the validation: a canary on peft's file format."""

import pytest
from deepmath_generator.parameter_shapes import ParameterShapes

from deepmath.errors import InvalidRequest
from deepmath.local_stack.stack import EMBEDDED_MODEL


@pytest.fixture(scope="module")
def model():
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(EMBEDDED_MODEL)


def test_adapter_of_all_linear_layers_written_by_peft_is_accepted(model, tmp_path) -> None:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=4, target_modules="all-linear", use_rslora=True, task_type="CAUSAL_LM")
    get_peft_model(model, config).save_pretrained(tmp_path)
    shapes = ParameterShapes(EMBEDDED_MODEL.name, model.config)
    shapes.check_adapter(tmp_path, max_rank=4)
    with pytest.raises(InvalidRequest, match="rank 4, and this generator accepts 3"):
        shapes.check_adapter(tmp_path, max_rank=3)
