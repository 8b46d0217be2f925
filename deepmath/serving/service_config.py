"""Typed configuration of a service in layers: defaults, a TOML file, environment variables, flags; later ones win."""

import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NoReturn, Self, TypeVar

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    CliApp,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from deepmath.access.tls import read_tls_files
from deepmath.access.tokens import read_clients, read_token
from deepmath.errors import InvalidRequest
from deepmath.exit_codes import EXIT_USAGE
from deepmath.rpc.addresses import is_host_and_port, is_local


class ServiceConfig(BaseSettings):
    """What every service takes. Subclasses add their own fields and set `env_prefix`."""

    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, cli_kebab_case=True, cli_implicit_flags=True, cli_hide_none_type=True
    )

    listen: str = Field(
        "127.0.0.1:0", description="Address to serve on: HOST:PORT (port 0: any free one) or unix:PATH."
    )
    tls: Path | None = Field(
        None,
        description="Serve mutual TLS with tls.crt, tls.key and ca.crt of this folder, and be a client with them too. "
        "Files that change are taken up. A unix socket is served without.",
    )
    insecure: bool = Field(False, description="Serve beyond this machine without TLS: whoever can connect can call.")
    tokens: Path | None = Field(
        None, description="File of the clients that may call, by the hashes of their tokens (`deepmath token`)."
    )
    token_file: Path | None = Field(None, description="File with the token that this service itself calls others with.")
    health_listen: str = Field(
        "", description="Serve health alone, without TLS, on HOST:PORT too, for probes that speak none."
    )
    max_connections: int = Field(2000, gt=0, description="Connections at once; more are closed as they come.")
    max_streams: int = Field(4096, gt=0, description="Calls at once on one connection; more wait at the client.")
    handshake_seconds: float = Field(
        10.0, gt=0, allow_inf_nan=False, description="A connection that does not say what it wants by then is closed."
    )
    connection_idle_seconds: float = Field(
        300.0, gt=0, allow_inf_nan=False, description="A connection without a call for so long is closed."
    )
    connection_age_seconds: float = Field(
        600.0,
        gt=0,
        allow_inf_nan=False,
        description="A connection of this age takes no further calls, so that clients see who else serves by now.",
    )
    connection_grace_seconds: float = Field(
        14_400.0, gt=0, allow_inf_nan=False, description="Calls on such a connection have so long to end."
    )
    drain_seconds: float = Field(20.0, ge=0, description="After SIGTERM, wait this long for calls in flight.")
    max_message_bytes: int = Field(4 << 20, gt=0, description="Longest message accepted from a client, in bytes.")
    log_level: str = Field("warning", pattern="^(debug|info|warning|error)$", description="What goes to the log.")
    log_format: Literal["text", "json"] = Field("text", description="Lines of the log: text, or one JSON object each.")
    metrics_listen: str = Field(
        "", description="Serve metrics for Prometheus on HOST:PORT (port 0: any free one; default: nowhere)."
    )
    otlp: str = Field(
        "",
        description="Send traces to the OpenTelemetry collector at http://HOST:PORT, by gRPC (default: where "
        "OTEL_EXPORTER_OTLP_ENDPOINT says, else nowhere).",
    )

    @field_validator("otlp")
    @classmethod
    def _is_url(cls, address: str) -> str:
        if address and not address.startswith(("http://", "https://")):
            raise ValueError("give http://HOST:PORT, or https://HOST:PORT for TLS")
        return address

    @field_validator("tls")
    @classmethod
    def _tls_can_be_used(cls, folder: Path | None) -> Path | None:
        return _checked(folder, read_tls_files)

    @field_validator("tokens")
    @classmethod
    def _tokens_can_be_used(cls, file: Path | None) -> Path | None:
        return _checked(file, read_clients)

    @field_validator("token_file")
    @classmethod
    def _token_is_there(cls, file: Path | None) -> Path | None:
        return _checked(file, read_token)

    @field_validator("health_listen", "metrics_listen")
    @classmethod
    def _are_host_and_port(cls, address: str) -> str:
        if address and not is_host_and_port(address):
            raise ValueError("give HOST:PORT, such as 127.0.0.1:7311")
        return address

    @model_validator(mode="after")
    def _is_not_open_to_everybody(self) -> Self:
        if not (self.tls or self.insecure or is_local(self.listen)):
            raise ValueError(
                f"cannot listen on {self.listen} without TLS: whoever reaches it could run code here; give "
                "--tls DIRECTORY (`deepmath certs` makes one), or say --insecure"
            )
        return self

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


def _checked(path: Path | None, read: Callable[[Path], object]) -> Path | None:
    """Return `path`; a ValueError where it has not what `read` wants: here, and not when a model has been loaded."""
    try:
        if path:
            read(path)
    except InvalidRequest as error:
        raise ValueError(str(error)) from None
    return path


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
