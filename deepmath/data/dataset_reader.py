"""Reader of dataset splits from a file, a folder, the Hugging Face hub or its cache. The only user of `datasets`."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deepmath.data.datasets_patches.empty_split import is_empty_split_error
from deepmath.data.json_rows import DatasetRow, JsonRows
from deepmath.errors import InvalidRequest, Unavailable
from deepmath.user_files import check_text, user_path

_LOADERS = {".csv": "csv", ".parquet": "parquet"}
_JSON = (".json", ".jsonl")
_BATCH_ROWS = 10_000


class DatasetSplit:
    """One split of the dataset `name`. `subset` is what the hub calls a configuration.

    A single file is a split of any name. A slice such as `train[:1000]` is a part of a split.

    Raises:
        InvalidRequest: there is no such dataset or split, or it cannot be read.
        Unavailable: the hub cannot be reached, and its cache does not hold the dataset.
    """

    def __init__(self, name: str, subset: str | None, split: str) -> None:
        self._source = _json_rows(name, split) or _ArrowRows(_load(name, subset, split))
        self.columns = self._source.columns

    def rows(self, columns: list[str]) -> Iterator[DatasetRow]:
        """Yield the rows, reduced to `columns`."""
        return self._source.rows(columns)


class _ArrowRows:
    """The rows of a `datasets.Dataset`."""

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset
        self.columns: list[str] = list(dataset.column_names)

    def rows(self, columns: list[str]) -> Iterator[DatasetRow]:
        try:
            for batch in self._dataset.select_columns(columns).iter(batch_size=_BATCH_ROWS):
                for values in zip(*(batch[column] for column in columns), strict=True):
                    yield DatasetRow(zip(columns, values, strict=True))
        except UnicodeDecodeError as error:
            raise InvalidRequest(f"a text of the dataset is not UTF-8: {error}; save its files as UTF-8") from None


def _json_rows(name: str, split: str) -> JsonRows | None:
    """Return the rows of the file `name`, or None if it is no JSON file."""
    path = user_path(name)
    if path.suffix not in _JSON or not path.is_file():
        return None
    found = JsonRows(path, name)
    _, bracket, rows = split.partition("[")  # `test[:100]`
    if bracket:
        datasets = _datasets(name)
        try:
            parts = datasets.ReadInstruction.from_spec(f"train[{rows}").to_absolute({"train": found.count})
        except ValueError as error:
            raise InvalidRequest(f"cannot read the split {split} of {name}: {_first_line(error)}") from None
        found.ranges = [range(part.from_, part.to) for part in parts]
    return found


def _datasets(name: str) -> Any:
    try:
        import datasets  # here because it takes seconds, and synthetic problems do not need it
        from huggingface_hub.utils import logging as hub_logging
    except ImportError as error:
        raise InvalidRequest(f"the dataset {name} needs the extra `evaluation`: {error}") from None
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)  # it logs what it raises
    hub_logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # each attempt to reach the hub logs a warning
    return datasets


def _load(name: str, subset: str | None, split: str) -> Any:
    datasets = _datasets(name)
    try:
        return _load_any_format(datasets, name, subset, split)
    except ConnectionError:
        raise Unavailable(
            f"the dataset {name} is neither a local file nor in the hub's cache, and the hub cannot be reached; give "
            "the path of a file or folder, or download the dataset where there is a network"
        ) from None
    except FileNotFoundError as error:  # also how datasets reports a name that the hub does not know
        raise InvalidRequest(f"there is no dataset {name}: {_first_line(error)}") from None
    except (ValueError, TypeError, OSError, LookupError, csv.Error) as error:
        if is_empty_split_error(error):
            raise InvalidRequest(f"the dataset {name} is empty") from None
        raise InvalidRequest(f"cannot read the split {split} of {name}: {_first_line(error)}") from None
    except datasets.exceptions.DatasetsError as error:
        raise InvalidRequest(f"cannot read {name}: {_first_line(error.__cause__ or error)}") from None


def _load_any_format(datasets: Any, name: str, subset: str | None, split: str) -> Any:
    path = user_path(name)
    if path.is_file():
        return _load_file(datasets, path, name, split)
    if path.exists() and not path.is_dir():
        raise InvalidRequest(f"cannot read {name}: it is a pipe or a device; give a file or a folder")
    if (path / "state.json").is_file() or (path / "dataset_dict.json").is_file():
        saved = datasets.load_from_disk(str(path))
        if not isinstance(saved, dict):
            return saved
        if split not in saved:
            raise InvalidRequest(f"{name} has no split {split}; there are {', '.join(saved)}")
        return saved[split]
    if not path.exists() and (path.suffix in (*_LOADERS, *_JSON) or name.startswith((".", "/", "~"))):
        raise InvalidRequest(f"there is no dataset {name}: no such file")
    return datasets.load_dataset(str(path) if path.exists() else name, subset, split=split)


def _load_file(datasets: Any, path: Path, name: str, split: str) -> Any:
    if (loader := _LOADERS.get(path.suffix)) is None:
        raise InvalidRequest(f"cannot read {name}; give a file that ends in {', '.join(sorted((*_LOADERS, *_JSON)))}")
    if not path.stat().st_size:
        raise InvalidRequest(f"the dataset {name} is empty")
    _, bracket, rows = split.partition("[")  # `test[:100]`
    files, split = {"train": str(path)}, f"train{bracket}{rows}"
    if loader != "csv":
        return datasets.load_dataset(loader, data_files=files, split=split)
    encoding = check_text(path, name)
    return datasets.load_dataset(loader, data_files=files, split=split, **_csv_options(datasets, path, encoding))


def _csv_options(datasets: Any, path: Path, encoding: str) -> dict[str, Any]:
    """Return options that read every CSV cell as text: as a number, a long answer would lose digits."""
    with path.open(newline="", encoding=encoding) as file:
        header = next(csv.reader(file), [])
    features = datasets.Features({column: datasets.Value("string") for column in header})
    return {"features": features, "keep_default_na": False, "encoding": encoding}


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
