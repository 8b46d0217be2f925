"""Names and shapes of a model's parameters, and whether an adapter or a checkpoint on disk fits them.

vLLM fuses layers and pads adapters, so that it would take some of what does not fit. Here every shape is compared
before vLLM sees a file.
"""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from deepmath.clients.model_files import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from deepmath.errors import InvalidRequest

Shapes = dict[str, tuple[int, ...]]

_PEFT_PREFIX = "base_model.model."


class ParameterShapes:
    """What a model called `name` is made of.

    `linear` has the weights of its linear layers, the output layer left out as by peft's "all-linear"; `parameters` has
    all its parameters.

    Raises:
        InvalidRequest: transformers has no such model.
    """

    def __init__(self, name: str, hf_config: Any) -> None:
        import torch
        from transformers import AutoModelForCausalLM

        try:
            with torch.device("meta"):
                model = AutoModelForCausalLM.from_config(hf_config)
        except ValueError as error:
            raise InvalidRequest(f"no adapter or checkpoint can be checked for {name}: {error}") from error
        self.name = name
        self.linear: Shapes = {
            name: tuple(module.weight.shape)
            for name, module in model.named_modules()
            if isinstance(module, torch.nn.Linear) and module is not model.get_output_embeddings()
        }
        self.parameters: Shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
        self._required = {name for name, _ in model.named_parameters()}  # of tied ones the first

    def check_adapter(self, folder: Path, max_rank: int) -> None:
        """Refuse an adapter that is not plain LoRA of at most `max_rank` on linear layers of this model.

        Raises:
            InvalidRequest: says what does not fit.
        """
        config = _read_config(folder / ADAPTER_CONFIG)
        rank = _plain_rank(config)
        if rank > max_rank:
            raise InvalidRequest(
                f"the adapter has rank {rank}, and this generator takes {max_rank}; start it with a larger "
                "--max-lora-rank"
            )
        base = str(config.get("base_model_name_or_path") or "").rstrip("/")
        if base and Path(base).name != Path(self.name).name:
            raise InvalidRequest(f"the adapter belongs to {base}, and this generator serves {self.name}")
        shapes = _read_shapes([folder / ADAPTER_WEIGHTS])
        if not shapes:
            raise InvalidRequest(f"{ADAPTER_WEIGHTS} has no tensors")
        for name in shapes:
            layer, _, matrix = name.removeprefix(_PEFT_PREFIX).rpartition(".lora_")
            if layer not in self.linear or matrix not in ("A.weight", "B.weight"):
                raise InvalidRequest(
                    f"the adapter has {name}; only matrices A and B of the linear layers of {self.name} are taken, "
                    "without the output layer"
                )
        for layer in {name.rpartition(".lora_")[0] for name in shapes}:
            outputs, inputs = self.linear[layer.removeprefix(_PEFT_PREFIX)]
            for matrix, fitting in (("A", (rank, inputs)), ("B", (outputs, rank))):
                name = f"{layer}.lora_{matrix}.weight"
                if shapes.get(name) != fitting:
                    raise InvalidRequest(f"the adapter's {name} is {_shape(shapes.get(name))}; {_shape(fitting)} fits")

    def check_checkpoint(self, folder: Path) -> None:
        """Refuse a directory that does not hold exactly this model's parameters.

        Raises:
            InvalidRequest: says what does not fit.
        """
        files = sorted(folder.glob("*.safetensors"))
        if not files:
            raise InvalidRequest(f"no checkpoint at {folder}: there are no .safetensors files")
        shapes = _read_shapes(files)
        for name, shape in shapes.items():
            fitting = self.parameters.get(name)
            if shape != fitting:
                theirs = f"{_shape(fitting)} fits" if fitting else f"{self.name} has no such parameter"
                raise InvalidRequest(f"the checkpoint's {name} is {_shape(shape)}; {theirs}")
        if missing := sorted(self._required - set(shapes)):
            raise InvalidRequest(f"the checkpoint lacks {len(missing)} parameters of {self.name}, such as {missing[0]}")


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text())
    except ValueError as error:
        raise InvalidRequest(f"{path.name} is no JSON: {error}") from error
    if not isinstance(config, dict):
        raise InvalidRequest(f"{path.name} is no JSON object")
    return config


def _plain_rank(config: dict[str, Any]) -> int:
    rank = config.get("r")
    for wrong, reason in (
        (config.get("peft_type") != "LORA", f"is of type {config.get('peft_type')}; only LORA is taken"),
        (config.get("bias", "none") != "none", f"trains biases ({config.get('bias')}); take bias: none"),
        (config.get("modules_to_save"), f"carries whole modules ({config.get('modules_to_save')}); take none"),
        (config.get("use_dora"), "uses DoRA, which is not served"),
        (config.get("rank_pattern"), "has ranks by pattern; take one rank for all layers"),
        (not isinstance(rank, int) or rank < 1, f"has r = {rank!r}; a whole number over 0 is needed"),
    ):
        if wrong:
            raise InvalidRequest(f"the adapter {reason}")
    assert isinstance(rank, int)
    return rank


def _read_shapes(files: list[Path]) -> Shapes:
    shapes: Shapes = {}
    for path in files:
        try:
            with safe_open(path, "pt") as tensors:
                shapes |= {name: tuple(tensors.get_slice(name).get_shape()) for name in tensors.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise InvalidRequest(f"{path.name} is no whole safetensors file: {error}") from error
    return shapes


def _shape(shape: tuple[int, ...] | None) -> str:
    return "missing" if shape is None else " x ".join(map(str, shape))
