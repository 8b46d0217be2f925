r"""Rows of a JSON file: one object per line, or an array of objects.

Read here and not by `datasets`, whose columns have one type each: an answer may be a text in one row, and a number or a
list in the next. Errors name the line.
"""

import codecs
import io
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from deepmath.errors import InvalidRequest
from deepmath.user_files import decode_text, has_wide_mark

_MAX_LINE_BYTES = 64 << 20


class DatasetRow(dict[str, Any]):
    """Cells by column."""

    where: str = ""
    """The place of a row in a JSON file; empty for rows of any other source."""


class JsonRows:
    """The rows of `path`, which messages call `name`.

    Raises:
        InvalidRequest: the file is not UTF-8 or not JSON, a row is not an object, or there is no row.
    """

    def __init__(self, path: Path, name: str) -> None:
        self._path, self._name = path, name
        columns: dict[str, None] = {}
        self.count = 0
        for row in self._all():
            columns |= dict.fromkeys(row)
            self.count += 1
        if not self.count:
            raise InvalidRequest(f"the dataset {name} is empty")
        self.columns = list(columns)
        self.ranges = [range(self.count)]
        """The indices of the rows that `rows` yields."""

    def rows(self, columns: list[str]) -> Iterator[DatasetRow]:
        """Yield the rows, reduced to `columns`; a missing cell is None."""
        for indices in self.ranges:
            for row in islice(self._all(), indices.start, indices.stop):
                found = DatasetRow({column: row.get(column) for column in columns})
                found.where = row.where
                yield found

    def _open(self) -> BinaryIO:
        """Return the file, as UTF-8."""
        try:
            file = self._path.open("rb")
        except OSError as error:
            raise InvalidRequest(f"cannot read {self._name}: {error.strerror}") from None
        if not has_wide_mark(file.read(4)):
            file.seek(0)
            return file
        with file:
            file.seek(0)
            return io.BytesIO(decode_text(file.read(), self._name).encode())

    def _all(self) -> Iterator[DatasetRow]:
        with self._open() as file:
            is_array = file.read(64).removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"[")
            file.seek(0)
            if is_array:
                found = parse_json(file.read(), self._name)
                entries = enumerate(found if isinstance(found, list) else [], start=1)
                for number, value in entries:
                    yield _row(value, f"{self._name}, entry {number}")
                return
            number = 0
            while line := file.readline(_MAX_LINE_BYTES + 1):
                number += 1
                where = f"{self._name}, line {number}"
                if len(line) > _MAX_LINE_BYTES:
                    raise InvalidRequest(f"{where} is longer than {_MAX_LINE_BYTES >> 20} MiB")
                if line.removeprefix(codecs.BOM_UTF8).strip():
                    yield _row(parse_json(line, where), where)


def parse_json(content: bytes, where: str) -> object:
    r"""Return the value in `content`, a document or a line of a file. A byte-order mark is skipped.

    Raises:
        InvalidRequest: it is not UTF-8 or not JSON. The message names `where`.
    """
    try:
        return json.loads(content.removeprefix(codecs.BOM_UTF8).decode("utf-8"))
    except UnicodeDecodeError as error:
        place = f"byte {error.start + 1} is 0x{error.object[error.start]:02x}"
        raise InvalidRequest(f"{where} is not UTF-8 ({place}); save the file as UTF-8") from None
    except RecursionError:
        raise InvalidRequest(f"{where} is not valid JSON: it is nested too deeply") from None
    except json.JSONDecodeError as error:
        place = f"column {error.colno}" if error.lineno == 1 else f"line {error.lineno}, column {error.colno}"
        hint = r'; a backslash is written twice in JSON: "\\sqrt{2}"' if "escape" in error.msg else ""
        raise InvalidRequest(f"{where} is not valid JSON: {error.msg.removesuffix(' at')} at {place}{hint}") from None
    except ValueError as error:  # a number of too many digits
        raise InvalidRequest(f"{where} is not valid JSON: {error}") from None


def _row(value: object, where: str) -> DatasetRow:
    if not isinstance(value, dict):
        raise InvalidRequest(f'{where} is not an object such as {{"problem": "1 + 1?", "answer": "2"}}')
    row = DatasetRow(value)
    row.where = where
    return row
