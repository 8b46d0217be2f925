"""`deepmath push`: upload of a trained adapter to a model hub."""

from pathlib import Path
from typing import Annotated

import typer
from huggingface_hub import HfApi, get_token
from huggingface_hub.errors import HfHubHTTPError, HFValidationError

from deepmath.cli.lazy_group import command_app
from deepmath.cli.shared_options import PATH
from deepmath.errors import DeepMathError, InvalidRequest, Unavailable
from deepmath.user_files import expand_home

app = command_app()

_LOGIN_HINT = "set HF_TOKEN to a token with write permission, or log in with `hf auth login`"


@app.command()
def push(
    run: Annotated[
        str,
        typer.Argument(
            help="Name of a run, or a folder with an adapter or a model.", parser=expand_home, metavar="RUN"
        ),
    ],
    repository: Annotated[str, typer.Argument(help="USER/NAME on the hub. Created if it does not exist.")],
    runs: Annotated[Path, typer.Option(help="Folder of the runs.", **PATH)] = Path("runs"),
    private: Annotated[bool, typer.Option("--private", help="Create the repository as private.")] = False,
    message: Annotated[str, typer.Option(help="Commit message.")] = "Upload by deepmath push",
) -> None:
    """Upload a run's adapter and model card to the Hugging Face Hub. HF_ENDPOINT selects another hub."""
    print(_upload(_find_folder(run, runs), repository, private, message))


def _find_folder(run: str, runs: Path) -> Path:
    candidates = [runs / run / "adapter", Path(run) / "adapter", Path(run)]
    for folder in candidates:
        if any((folder / name).is_file() for name in ("adapter_config.json", "config.json")):
            return folder
    if (runs / run).is_dir():
        raise InvalidRequest(f"the run {run} has no adapter yet; a run writes it when it finishes")
    raise InvalidRequest(f"no run {run} in {runs}, and no folder {run} with an adapter_config.json or a config.json")


def _upload(folder: Path, repository: str, private: bool, message: str) -> str:
    """Upload `folder` and return the URL of the commit."""
    if get_token() is None:
        raise InvalidRequest(f"the hub requires a token: {_LOGIN_HINT}")
    hub = HfApi()
    try:
        created = hub.create_repo(repository, private=private, exist_ok=True)
        commit = hub.upload_folder(repo_id=created.repo_id, folder_path=folder, commit_message=message)
    except HFValidationError as error:
        raise InvalidRequest(f"{repository!r} is not a valid repository name: {_one_line(error)}") from None
    except HfHubHTTPError as error:
        raise _to_error(repository, error.response.status_code, _one_line(error)) from None
    except Exception as error:  # from the HTTP library beneath huggingface_hub, which differs between its versions
        raise Unavailable(f"the upload to {hub.endpoint} failed: {_one_line(error)}") from None
    return str(commit.commit_url)


def _to_error(repository: str, status: int, reason: str) -> DeepMathError:
    if status in (401, 403):
        return InvalidRequest(f"the hub does not permit this token to write to {repository}: {_LOGIN_HINT}")
    if status >= 500:
        return Unavailable(f"the hub failed: {reason}")
    return InvalidRequest(f"the hub rejected {repository}: {reason}")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
