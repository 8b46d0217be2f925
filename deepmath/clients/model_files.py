"""Models and adapters on disk: what can be said of them without loading them."""

import json
from pathlib import Path

from deepmath.errors import InvalidRequest

# As peft writes them.
ADAPTER_CONFIG, ADAPTER_WEIGHTS = ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")


def check_model(model: str) -> None:
    """Refuse a model that is named as a directory and is none; a hub name can be judged by loading it only.

    Raises:
        InvalidRequest: there is no model at that path.
    """
    looks_like_path = model.startswith(("/", ".", "~")) or model.count("/") > 1
    if looks_like_path and not (Path(model) / "config.json").is_file():
        raise InvalidRequest(f"no model at {model}: a model directory has a config.json")


def check_adapter(adapter: str) -> None:
    """Refuse a directory that is no adapter.

    Raises:
        InvalidRequest: there is no adapter at that path.
    """
    for name in ADAPTER_FILES:
        if not (Path(adapter) / name).is_file():
            raise InvalidRequest(f"no adapter at {adapter}: an adapter directory has {' and '.join(ADAPTER_FILES)}")


def model_name(model: str) -> str:
    """Return what a model is called: the last part of a directory's path, or its hub name."""
    return Path(model).resolve().name if Path(model).is_dir() else model


def model_of_adapter(adapter: str) -> str:
    """Return the name of the model that an adapter says it belongs to.

    Raises:
        InvalidRequest: there is no adapter at that path, or it does not say.
    """
    check_adapter(adapter)
    try:
        return model_name(json.loads((Path(adapter) / ADAPTER_CONFIG).read_text())["base_model_name_or_path"])
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidRequest(f"{ADAPTER_CONFIG} in {adapter} has no base_model_name_or_path; add it") from error
