"""Parameter names and shapes of a model, and validation of adapters and checkpoints against them.

vLLM fuses layers and pads adapters, and would accept some files that do not fit. Every shape is compared here before
vLLM reads a file.
"""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from deepmath.clients.model_files import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from deepmath.errors import InvalidRequest
from deepmath_generator.weight_values import check_header, check_values

Shapes = dict[str, tuple[int, ...]]

_LARGEST_ALPHA = 1e6
_PEFT_PREFIX = "base_model.model."  # of the tensor names in peft's file format


class ParameterShapes:
    """Shapes of the model `name`.

    `linear` has the weights of the linear layers except the output layer, like peft's target "all-linear"; `parameters`
    has all parameters.

    Raises:
        InvalidRequest: transformers has no implementation of the model.
    """

    def __init__(self, name: str, hf_config: Any) -> None:
        import torch
        from transformers import AutoModelForCausalLM

        try:
            with torch.device("meta"):
                model = AutoModelForCausalLM.from_config(hf_config)
        except ValueError as error:
            raise InvalidRequest(f"cannot validate adapters and checkpoints of {name}: {error}") from error
        self.name = name
        self.linear: Shapes = {
            name: tuple(module.weight.shape)
            for name, module in model.named_modules()
            if isinstance(module, torch.nn.Linear) and module is not model.get_output_embeddings()
        }
        self.parameters: Shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
        self._required = {name for name, _ in model.named_parameters()}  # the first of each group of tied parameters

    def check_adapter(self, folder: Path, max_rank: int) -> None:
        """Check that an adapter is plain LoRA of at most `max_rank` on linear layers, with finite weights.

        Raises:
            InvalidRequest: It is not; the message names the first mismatch.
        """
        config = _read_config(folder / ADAPTER_CONFIG)
        rank = _plain_rank(config)
        if rank > max_rank:
            raise InvalidRequest(
                f"the adapter has rank {rank}, and this generator accepts {max_rank}; start it with a larger "
                "--max-lora-rank"
            )
        base = str(config.get("base_model_name_or_path") or "").rstrip("/")
        if base and Path(base).name != Path(self.name).name:
            raise InvalidRequest(f"the adapter belongs to {base}, and this generator serves {self.name}")
        self._check_matrices(_read_shapes([folder / ADAPTER_WEIGHTS]), rank)
        check_values([folder / ADAPTER_WEIGHTS])

    def check_checkpoint(self, folder: Path) -> None:
        """Check that a directory holds exactly this model's parameters, with finite weights.

        Raises:
            InvalidRequest: It does not; the message names the first mismatch.
        """
        files = sorted(folder.glob("*.safetensors"))
        if not files:
            raise InvalidRequest(f"no checkpoint at {folder}: there are no .safetensors files")
        shapes = _read_shapes(files)
        for name, shape in shapes.items():
            expected = self.parameters.get(name)
            if shape != expected:
                problem = f"expected {_shape(expected)}" if expected else f"{self.name} has no such parameter"
                raise InvalidRequest(f"the checkpoint's {name} is {_shape(shape)}; {problem}")
        if missing := sorted(self._required - set(shapes)):
            raise InvalidRequest(f"the checkpoint lacks {len(missing)} parameters of {self.name}, such as {missing[0]}")
        check_values(files)

    def _check_matrices(self, shapes: Shapes, rank: int) -> None:
        if not shapes:
            raise InvalidRequest(f"{ADAPTER_WEIGHTS} has no tensors")
        for name in shapes:
            layer, _, matrix = name.removeprefix(_PEFT_PREFIX).rpartition(".lora_")
            if layer not in self.linear or matrix not in ("A.weight", "B.weight"):
                raise InvalidRequest(
                    f"the adapter has {name}; only matrices A and B of the linear layers of {self.name} are accepted, "
                    "without the output layer"
                )
        for layer in {name.rpartition(".lora_")[0] for name in shapes}:
            outputs, inputs = self.linear[layer.removeprefix(_PEFT_PREFIX)]
            for matrix, expected in (("A", (rank, inputs)), ("B", (outputs, rank))):
                name = f"{layer}.lora_{matrix}.weight"
                if shapes.get(name) != expected:
                    raise InvalidRequest(
                        f"the adapter's {name} is {_shape(shapes.get(name))}; expected {_shape(expected)}"
                    )


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"{path.name} is not valid JSON: {error}") from error
    if not isinstance(config, dict):
        raise InvalidRequest(f"{path.name} is not a JSON object")
    return config


def _plain_rank(config: dict[str, Any]) -> int:
    rank, alpha = config.get("r"), config.get("lora_alpha", 8)  # 8 is peft's default
    for wrong, reason in (
        (config.get("peft_type") != "LORA", f"is of type {config.get('peft_type')}; only LORA is supported"),
        (config.get("bias", "none") != "none", f"trains biases ({config.get('bias')}); use bias: none"),
        (config.get("modules_to_save"), f"contains whole modules ({config.get('modules_to_save')}); use none"),
        (config.get("use_dora"), "uses DoRA, which is not supported"),
        (config.get("rank_pattern"), "has a rank_pattern; use one rank for all layers"),
        (type(rank) is not int or rank < 1, f"has r = {rank!r}; it must be a positive integer"),
        (not _is_positive(alpha), f"has lora_alpha = {alpha!r}; it must be a positive number"),
    ):
        if wrong:
            raise InvalidRequest(f"the adapter {reason}")
    assert isinstance(rank, int)
    return rank


def _is_positive(number: object) -> bool:
    return isinstance(number, int | float) and not isinstance(number, bool) and 0 < number < _LARGEST_ALPHA


def _read_shapes(files: list[Path]) -> Shapes:
    shapes: Shapes = {}
    for path in files:
        try:
            check_header(path)
            with safe_open(path, "pt") as tensors:
                shapes |= {name: tuple(tensors.get_slice(name).get_shape()) for name in tensors.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise InvalidRequest(f"{path.name} is not a complete safetensors file: {error}") from error
    return shapes


def _shape(shape: tuple[int, ...] | None) -> str:
    return "missing" if shape is None else " x ".join(map(str, shape))
