"""Models and adapters on disk: what can be said of them without loading them."""

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
