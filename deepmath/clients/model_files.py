"""Checks and names of models and adapters on disk, without loading them."""

import json
from pathlib import Path

from deepmath.errors import InvalidRequest
from deepmath.user_files import read_text

# peft's file names.
ADAPTER_CONFIG, ADAPTER_WEIGHTS = ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")


def check_model(model: str) -> None:
    """Reject a path without a model; a hub name is checked by loading it only.

    Raises:
        InvalidRequest: There is no model at that path.
    """
    looks_like_path = model.startswith(("/", ".", "~")) or model.count("/") > 1
    if looks_like_path and not (Path(model) / "config.json").is_file():
        raise InvalidRequest(f"no model at {model}: a model directory has a config.json")


def check_adapter(adapter: str) -> None:
    """Reject a path without an adapter.

    Raises:
        InvalidRequest: There is no adapter at that path.
    """
    for name in ADAPTER_FILES:
        if not (Path(adapter) / name).is_file():
            raise InvalidRequest(f"no adapter at {adapter}: an adapter directory has {' and '.join(ADAPTER_FILES)}")


def model_name(model: str) -> str:
    """Return the last part of a model directory's path, or the hub name unchanged."""
    return Path(model).resolve().name if Path(model).is_dir() else model


def model_of_adapter(adapter: str) -> str:
    """Return the name of an adapter's base model.

    Raises:
        InvalidRequest: There is no adapter at that path, or its config names no base model.
    """
    check_adapter(adapter)
    try:
        return model_name(json.loads(read_text(Path(adapter) / ADAPTER_CONFIG))["base_model_name_or_path"])
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidRequest(f"{ADAPTER_CONFIG} in {adapter} has no base_model_name_or_path; add it") from error
