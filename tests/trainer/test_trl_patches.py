"""Canaries: the private parts of TRL and transformers that `trl_patches` relies on are as they were."""

import inspect
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

TRL_VERSION = "1.16.0"


@pytest.fixture(scope="module")
def trl_trainer() -> Any:
    from deepmath_trainer.trl_patches.hooked_trainer import HookedGrpoTrainer

    return HookedGrpoTrainer.__base__


@pytest.fixture(scope="module")
def trl_source(trl_trainer) -> str:
    """The module of GRPOTrainer."""
    return Path(inspect.getfile(trl_trainer)).read_text()


def parameters(function: Any) -> list[str]:
    return list(inspect.signature(function).parameters)


def test_tested_version_of_trl_is_installed() -> None:
    import trl

    assert trl.__version__ == TRL_VERSION


@pytest.mark.slow
def test_trainer_imports_no_vllm() -> None:
    code = "import sys, deepmath_trainer.grpo_trainer; print('vllm' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-P", "-c", code], text=True).strip() == "False"


def test_vllm_import_depends_on_the_patched_function(trl_trainer) -> None:
    from trl import import_utils
    from trl.generation import vllm_client, vllm_generation

    assert import_utils.is_vllm_available() is False
    for module in (vllm_client, vllm_generation):
        assert module.is_vllm_available is import_utils.is_vllm_available


@pytest.mark.parametrize(
    "line",
    [
        "self.use_vllm = args.use_vllm",
        "if self.use_vllm and self.state.global_step != self._last_loaded_step:",
        "self.vllm_generation.sync_weights()",
        "if self.use_vllm and self.vllm_importance_sampling_correction:",
    ],
)
def test_importance_correction_depends_on_the_vllm_switch(trl_source: str, line: str) -> None:
    assert line in trl_source


def test_other_uses_of_the_vllm_client_are_unreachable_with_a_rollout_function(trl_trainer, trl_source: str) -> None:
    uses = {
        name
        for name, method in inspect.getmembers(trl_trainer, inspect.isfunction)
        if "self.vllm_generation." in inspect.getsource(inspect.unwrap(method)) and method.__module__ in sys.modules
    }
    assert uses == {"__init__", "_generate", "_generate_single_turn", "_tool_call_loop"}
    generate = inspect.getsource(inspect.unwrap(trl_trainer._generate))
    assert re.search(r"if self\.rollout_func is not None:.*else:.*_generate_single_turn", generate, re.DOTALL)


def test_temperature_is_a_closure_variable_of_the_fused_head() -> None:
    from deepmath_trainer.trl_patches.loss_temperature import set_loss_temperature
    from transformers import Qwen3Config, Qwen3ForCausalLM
    from trl.trainer.utils import add_fused_lm_head

    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "head_dim": 8}
    model = Qwen3ForCausalLM(Qwen3Config(vocab_size=16, num_key_value_heads=1, **sizes))
    add_fused_lm_head(model, temperature=1.0)
    ids = SimpleNamespace(tokens=model.dummy_inputs["input_ids"] % 16)

    def logprobs() -> Any:
        return model(input_ids=ids.tokens, labels=ids.tokens, fused_lm_head=True).log_probs.detach()

    before = logprobs()
    set_loss_temperature(model, 2.0)
    assert not before.allclose(logprobs())
    set_loss_temperature(model, 1.0)
    assert before.equal(logprobs())


def test_adapter_names_are_those_of_trl(trl_source: str) -> None:
    from deepmath_trainer.trl_patches.adapter_names import POLICY, REFERENCE

    assert f'model.add_adapter("{REFERENCE}", default_config)' in trl_source
    assert f'model.peft_config["{POLICY}"]' in trl_source


def test_adapter_functions_of_the_asynchronous_trainer_have_their_signatures() -> None:
    from trl.experimental.async_grpo import async_grpo_trainer

    assert parameters(async_grpo_trainer.save_lora_adapter) == ["model", "accelerator", "adapter_name", "dest_dir"]
    assert parameters(async_grpo_trainer.validate_lora_for_vllm_sync) == ["model"]


def test_log_keys_are_those_of_trl_and_transformers(trl_source: str) -> None:
    from deepmath_trainer.trl_patches.log_keys import _NAMES
    from transformers import Trainer

    transformers = inspect.getsource(Trainer._maybe_log_save_evaluate)
    for key in _NAMES:
        assert f'"{key}"' in trl_source or f'logs["{key}"]' in transformers, key


def test_overridden_methods_have_their_signatures(trl_trainer) -> None:
    score = parameters(inspect.unwrap(trl_trainer._get_per_token_logps_and_entropies))
    assert score[:5] == ["self", "model", "input_ids", "attention_mask", "logits_to_keep"]
    assert {"batch_size", "compute_entropy", "compute_aux_loss"} <= set(score)
    assert parameters(trl_trainer._compute_loss) == ["self", "model", "inputs"]
    assert parameters(trl_trainer._get_output_dir) == ["self", "trial"]
    assert parameters(trl_trainer._save_checkpoint) == ["self", "model", "trial"]


def test_checkpoints_are_written_below_the_output_directory() -> None:
    from transformers import Trainer

    source = inspect.getsource(Trainer._save_checkpoint)
    assert "run_dir = self._get_output_dir(trial=trial)" in source
    assert 'f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"' in source


def test_loss_scores_once_with_gradients(trl_trainer) -> None:
    source = inspect.getsource(inspect.unwrap(trl_trainer._compute_loss))
    assert source.count("self._get_per_token_logps_and_entropies(") == 1
    assert 'inputs["advantages"]' in source
    scored = source.index("self._get_per_token_logps_and_entropies(")
    for key in ('inputs.get("old_per_token_logps")', 'inputs["importance_sampling_ratio"]'):
        assert source.index(key) > scored, "CorrectionInLoss sets it when the loss has scored"


def test_ratios_of_missing_scores_are_1_and_their_metrics_are_appended(trl_source: str) -> None:
    assert "per_token_logps_diff = torch.nan_to_num(per_token_logps_diff, nan=0.0)" in trl_source
    for key in ("sampling_logp_difference/mean", "importance_sampling_ratio/min"):
        assert f'self._metrics[mode]["sampling/{key}"].append(' in trl_source


def test_private_methods_are_overridden_in_the_patches_only(trl_trainer) -> None:
    from deepmath_trainer.grpo_trainer import GrpoTrainer

    overridden = {name for name in vars(GrpoTrainer) if hasattr(trl_trainer, name) and not name.startswith("__")}
    assert overridden == {"create_model_card"}


def test_fused_head_reads_the_sizes_of_its_tiles_and_the_selection_of_positions_from_module_variables() -> None:
    from trl.kernels import chunked_logprob
    from trl.trainer import utils

    head = inspect.getsource(utils.add_fused_lm_head)
    assert "compact = _use_triton(hidden_states.device)" in head
    assert "_CHUNKED_LOGPROB_CHUNK_SIZE," in head
    function = inspect.getsource(chunked_logprob.ChunkedLogProbFunction)
    assert function.count("range(0, N, TOKEN_CHUNK_SIZE)") == 2
    assert function.count("range(0, vocab, chunk_size)") == 2
