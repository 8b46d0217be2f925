"""`deepmath push`: what a run has learned, to a model hub."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from deepmath.errors import DeepMathError

_HOW_TO_LOG_IN = "set HF_TOKEN to a token that may write, or log in with `hf auth login`"


def push(
    run: Annotated[str, typer.Argument(help="The name of a run, or a folder with an adapter or a model.")],
    repository: Annotated[str, typer.Argument(help="USER/NAME on the hub; created where it is not there.")],
    runs: Annotated[Path, typer.Option(help="Folder of the runs.")] = Path("runs"),
    private: Annotated[bool, typer.Option("--private", help="Create it as private.")] = False,
    message: Annotated[str, typer.Option(help="Of the commit.")] = "Upload by deepmath push",
) -> None:
    """Upload the adapter of a run, with its card, to the Hugging Face hub (HF_ENDPOINT names another one)."""
    folder = _folder(run, runs)
    print(_upload(folder, repository, private, message))


def _folder(run: str, runs: Path) -> Path:
    """Return the folder to upload."""
    from deepmath.errors import InvalidRequest

    candidates = [runs / run / "adapter", Path(run) / "adapter", Path(run)]
    for folder in candidates:
        if any((folder / name).is_file() for name in ("adapter_config.json", "config.json")):
            return folder
    if (runs / run).is_dir():
        raise InvalidRequest(f"the run {run} has no adapter yet: it has one when it is done")
    raise InvalidRequest(f"no run {run} in {runs}, and no folder {run} with an adapter_config.json or a config.json")


def _upload(folder: Path, repository: str, private: bool, message: str) -> str:
    """Upload `folder` and return the address of what came of it."""
    from deepmath.errors import InvalidRequest, Unavailable

    try:
        from huggingface_hub import HfApi, get_token
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    except ImportError:
        raise InvalidRequest("push needs huggingface_hub: install the extra `trainer`") from None
    if get_token() is None:
        raise InvalidRequest(f"the hub wants a token: {_HOW_TO_LOG_IN}")
    hub = HfApi()
    try:
        made = hub.create_repo(repository, private=private, exist_ok=True)
        commit = hub.upload_folder(repo_id=made.repo_id, folder_path=folder, commit_message=message)
    except HFValidationError as error:
        raise InvalidRequest(f"{repository!r} is no name on a hub: {_one_line(error)}") from None
    except HfHubHTTPError as error:
        raise _refused(repository, error.response.status_code, _one_line(error)) from None
    except Exception as error:  # whatever the library's own HTTP client raises: which one that is, changes
        raise Unavailable(f"the upload to {hub.endpoint} failed: {_one_line(error)}") from None
    return str(commit.commit_url)


def _refused(repository: str, status: int, reason: str) -> "DeepMathError":
    from deepmath.errors import InvalidRequest, Unavailable

    if status in (401, 403):
        return InvalidRequest(f"the hub does not let this token write to {repository}: {_HOW_TO_LOG_IN}")
    if status >= 500:
        return Unavailable(f"the hub failed: {reason}")
    return InvalidRequest(f"the hub refused {repository}: {reason}")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
