"""Rows of a dataset, wherever it lies: a file, a folder, the hub's cache or the hub. The one user of `datasets`."""

import csv
import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from deepmath.errors import InvalidRequest, Unavailable

Row = dict[str, Any]

_LOADERS = {".csv": "csv", ".json": "json", ".jsonl": "json", ".parquet": "parquet"}
_BATCH = 10_000  # rows
_ID_CHARACTERS = 16


@dataclass(frozen=True)
class DatasetProblem:
    """A question with its right answer."""

    id: str
    """Stands for the question, whatever file it came in, where the dataset has none of its own."""
    text: str
    answer: str
    r"""As the dataset writes it: `42`, `\frac{3}{4}`, with or without dollar signs."""

    @classmethod
    def of(cls, question: object, answer: object, own_id: object = None) -> Self:
        """Return the problem of a row with these cells."""
        text = _text(question)
        digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:_ID_CHARACTERS]
        return cls(digest if own_id is None else str(own_id), text, _text(answer))


class Dataset:
    """One split of the dataset `name`; `subset` is what the hub calls a configuration.

    A file has one split, whatever it is called; `train[:1000]` is a part of one.

    Raises:
        InvalidRequest: there is no such dataset or split, or it cannot be read.
        Unavailable: the hub cannot be reached, and its cache does not have it.
    """

    def __init__(self, name: str, subset: str | None, split: str) -> None:
        self._rows = _loaded(name, subset, split)
        self.columns: list[str] = list(self._rows.column_names)

    def rows(self, columns: list[str]) -> Iterator[Row]:
        """Yield the rows, with these columns and no other."""
        for batch in self._rows.select_columns(columns).iter(batch_size=_BATCH):
            for values in zip(*(batch[column] for column in columns), strict=True):
                yield dict(zip(columns, values, strict=True))


def _loaded(name: str, subset: str | None, split: str) -> Any:
    try:
        import datasets  # here: it takes seconds, and is not needed for synthetic problems
    except ImportError as error:
        raise InvalidRequest(f"the dataset {name} needs the extra `evaluation`: {error}") from None
    datasets.disable_progress_bars()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # each try to reach the hub is a warning
    try:
        return _load(datasets, name, subset, split)
    except ConnectionError:
        raise Unavailable(
            f"the dataset {name} is no file here, not in the hub's cache, and the hub cannot be reached: give the "
            "path of a file or folder, or fetch it where there is a network"
        ) from None
    except FileNotFoundError as error:  # datasets' own "not found", on the hub as well
        raise InvalidRequest(f"there is no dataset {name}: {_first_line(error)}") from None
    except (ValueError, TypeError, OSError, LookupError) as error:
        if isinstance(error, IndexError) or "corresponds to no data" in str(error):  # how it trips over no rows
            raise InvalidRequest(f"the dataset {name} is empty") from None
        raise InvalidRequest(f"cannot read the split {split} of {name}: {_first_line(error)}") from None
    except datasets.exceptions.DatasetsError as error:
        raise InvalidRequest(f"cannot read {name}: {_first_line(error.__cause__ or error)}") from None


def _load(datasets: Any, name: str, subset: str | None, split: str) -> Any:
    path = Path(name).expanduser()
    if path.is_file():
        if (loader := _LOADERS.get(path.suffix)) is None:
            raise InvalidRequest(f"cannot read {name}: give a file that ends in {', '.join(_LOADERS)}")
        if not path.stat().st_size:
            raise InvalidRequest(f"the dataset {name} is empty")
        options = _csv_options(datasets, path) if loader == "csv" else {}
        _, bracket, rows = split.partition("[")  # `test[:100]`
        return datasets.load_dataset(loader, data_files={"train": str(path)}, split=f"train{bracket}{rows}", **options)
    if (path / "state.json").is_file() or (path / "dataset_dict.json").is_file():
        saved = datasets.load_from_disk(str(path))
        if not isinstance(saved, dict):
            return saved
        if split not in saved:
            raise InvalidRequest(f"{name} has no split {split}; there are {', '.join(saved)}")
        return saved[split]
    if not path.exists() and (path.suffix in _LOADERS or name.startswith((".", "/", "~"))):
        raise InvalidRequest(f"there is no dataset {name}: no such file")
    return datasets.load_dataset(str(path) if path.exists() else name, subset, split=split)


def _csv_options(datasets: Any, path: Path) -> dict[str, Any]:
    """Everything in a CSV is text: as a number, an answer of many digits would lose some."""
    with path.open(newline="", encoding="utf-8") as file:
        header = next(csv.reader(file), [])
    features = datasets.Features({column: datasets.Value("string") for column in header})
    return {"features": features, "keep_default_na": False}


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _text(cell: object) -> str:
    """A cell as text: a column of numbers with a gap in it has 42 as 42.0."""
    if cell is None:
        return ""
    return str(int(cell) if isinstance(cell, float) and cell.is_integer() else cell).strip()
