"""The folder into which `deepmath exec --figures` writes the images of the cells."""

from pathlib import Path

from deepmath.errors import InvalidRequest
from deepmath.executor.v1 import executor_pb2 as pb


class FigureFolder:
    """Writes figures to `figure-1.png`, `figure-2.png`, ... in `folder`, which is created. Replaces existing files.

    Raises:
        InvalidRequest: The folder cannot be created.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._written = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InvalidRequest(f"--figures: cannot create the folder {folder}: {error.strerror}") from None

    def write(self, result: pb.SnippetResult) -> list[Path]:
        """Write the figures of a result and return their files.

        Raises:
            InvalidRequest: A file cannot be written.
        """
        return [self._write(output.data) for output in result.rich_outputs if output.mime_type == "image/png"]

    def _write(self, image: bytes) -> Path:
        self._written += 1
        file = self._folder / f"figure-{self._written}.png"
        try:
            file.write_bytes(image)
        except OSError as error:
            raise InvalidRequest(f"--figures: cannot write {file}: {error.strerror}") from None
        return file
