"""Typed configuration of a service in layers: defaults, a TOML file, environment variables, flags; later ones win."""

import sys
import tomllib
from pathlib import Path
from typing import NoReturn, TypeVar

from pydantic import Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    CliApp,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from deepmath.exits import EXIT_USAGE


class ServiceConfig(BaseSettings):
    """What every service takes. Subclasses add their own fields and set `env_prefix`."""

    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, cli_kebab_case=True, cli_implicit_flags=True, cli_hide_none_type=True
    )

    listen: str = Field(
        "127.0.0.1:0", description="Address to serve on: HOST:PORT (port 0: any free one) or unix:PATH."
    )
    drain_seconds: float = Field(20.0, ge=0, description="After SIGTERM, wait this long for calls in flight.")
    max_message_bytes: int = Field(4 << 20, gt=0, description="Longest message accepted from a client, in bytes.")
    log_level: str = Field("warning", pattern="^(debug|info|warning|error)$", description="What goes to the log.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags (pydantic puts them first by itself), then the environment, then the file."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)


Config = TypeVar("Config", bound=ServiceConfig)


def load(config: type[Config], command: str, arguments: list[str]) -> Config:
    """Return the configuration that `arguments` describe; `--config FILE` names a TOML file with the same keys.

    Bad input ends the process with EXIT_USAGE and one line for each mistake on stderr.
    """
    arguments, file = _take_config_file(arguments, command)
    settings = SettingsConfigDict(toml_file=file, cli_prog_name=command)
    layered = type(config.__name__, (config,), {"model_config": settings, "__doc__": config.__doc__})
    try:
        return CliApp.run(layered, cli_args=arguments)
    except ValidationError as error:
        mistakes = (f"{'.'.join(map(str, m['loc'])) or 'configuration'}: {m['msg']}" for m in error.errors())
        _refuse(command, *mistakes)
    except SettingsError as error:
        _refuse(command, str(error))


def _take_config_file(arguments: list[str], command: str) -> tuple[list[str], Path | None]:
    if "--config" not in arguments:
        return arguments, None
    at = arguments.index("--config")
    if at + 1 == len(arguments):
        _refuse(command, "--config needs the path of a TOML file")
    file = Path(arguments[at + 1])
    try:  # here, because pydantic passes over a file that is not there
        tomllib.loads(file.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        _refuse(command, f"cannot read the configuration {file}: {error}")
    return arguments[:at] + arguments[at + 2 :], file


def _refuse(command: str, *mistakes: str) -> NoReturn:
    for mistake in mistakes:
        print(f"{command}: {mistake}", file=sys.stderr)
    raise SystemExit(EXIT_USAGE)
