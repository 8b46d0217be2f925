"""Typed configuration of a service in layers: defaults, a TOML file, environment variables, flags; later ones win."""

import tomllib
from argparse import ArgumentParser
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, NoReturn, Self, TypeVar

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    CliSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from deepmath.access.tls import read_tls_files
from deepmath.access.tokens import read_clients, read_token
from deepmath.errors import InvalidRequest
from deepmath.exit_codes import EXIT_USAGE
from deepmath.printable_text import print_error
from deepmath.rpc.addresses import is_host_and_port, is_listen_address, is_local
from deepmath.serving.path_settings import PathSetting
from deepmath.serving.setting_errors import did_you_mean, explain_settings
from deepmath.user_files import read_text


class ServiceConfig(BaseSettings):
    """The settings that all services share. Subclasses add their own and set `env_prefix`."""

    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, cli_kebab_case=True, cli_implicit_flags=True, cli_hide_none_type=True
    )

    file_values: ClassVar[Mapping[str, Any]] = {}
    """The values in the TOML file."""

    listen: str = Field(
        "127.0.0.1:0", description="Address to serve on: HOST:PORT (port 0: any free one) or unix:PATH."
    )
    tls: PathSetting | None = Field(
        None,
        description="Folder with tls.crt, tls.key and ca.crt: serve mutual TLS, and use it as a client of other "
        "services. Changed files are reloaded. A unix socket is served without TLS.",
    )
    insecure: bool = Field(
        False, description="Allow serving beyond this machine without TLS: anyone who can connect can call."
    )
    tokens: PathSetting | None = Field(
        None, description="File of permitted clients, by the hashes of their tokens (`deepmath token`)."
    )
    token_file: PathSetting | None = Field(
        None, description="File with the token for this service's calls to other services."
    )
    health_listen: str = Field(
        "", description="HOST:PORT of an additional plaintext endpoint for health checks only, for probes without TLS."
    )
    max_connections: int = Field(2000, gt=0, description="Maximum concurrent connections; more are closed.")
    max_calls: int = Field(4096, gt=0, description="Maximum concurrent calls; more are refused with a retry delay.")
    handshake_seconds: float = Field(
        10.0, gt=0, allow_inf_nan=False, description="Close a connection that has not completed its handshake by then."
    )
    connection_idle_seconds: float = Field(
        300.0, gt=0, allow_inf_nan=False, description="Close a connection without calls after this time."
    )
    drain_seconds: float = Field(20.0, ge=0, description="Time for calls in flight to finish after SIGTERM.")
    max_message_bytes: int = Field(4 << 20, gt=0, description="Maximum size of a message from a client, in bytes.")
    max_unread_bytes: int = Field(
        64 << 20, gt=0, description="Memory for requests of unary calls that are being received, in bytes."
    )
    receive_seconds: float = Field(
        30.0, gt=0, allow_inf_nan=False, description="Time for the request of a unary call to arrive, in seconds."
    )
    log_level: str = Field(
        "warning", pattern="^(debug|info|warning|error)$", description="Minimum level: debug, info, warning or error."
    )
    log_format: Literal["text", "json"] = Field("text", description="Log lines as text or as one JSON object each.")
    metrics_listen: str = Field(
        "", description="HOST:PORT of the Prometheus endpoint (port 0: any free one). Default: none."
    )
    otlp: str = Field(
        "",
        description="OpenTelemetry collector for traces: http://HOST:PORT, gRPC. Default: OTEL_EXPORTER_OTLP_ENDPOINT, "
        "or no export.",
    )

    @field_validator("otlp")
    @classmethod
    def _is_url(cls, address: str) -> str:
        if address and not address.startswith(("http://", "https://")):
            raise ValueError("give http://HOST:PORT, or https://HOST:PORT for TLS")
        return address

    @field_validator("tls")
    @classmethod
    def _tls_folder_is_usable(cls, folder: Path | None) -> Path | None:
        return _checked(folder, read_tls_files)

    @field_validator("tokens")
    @classmethod
    def _tokens_file_is_usable(cls, file: Path | None) -> Path | None:
        return _checked(file, read_clients)

    @field_validator("token_file")
    @classmethod
    def _token_file_is_usable(cls, file: Path | None) -> Path | None:
        return _checked(file, read_token)

    @field_validator("listen")
    @classmethod
    def _is_listen_address(cls, address: str) -> str:
        if address.startswith(("unix-abstract:", "unix:@")):
            raise ValueError(
                f"cannot listen on {address}: no permissions protect an abstract socket from other users of this "
                "machine; give unix:PATH"
            )
        if not is_listen_address(address):
            raise ValueError(f"cannot listen on {address!r}; give HOST:PORT or unix:PATH")
        return address

    @field_validator("health_listen", "metrics_listen")
    @classmethod
    def _is_host_and_port(cls, address: str) -> str:
        if address and not is_host_and_port(address):
            raise ValueError("give HOST:PORT, such as 127.0.0.1:7311")
        return address

    @model_validator(mode="after")
    def _is_not_open_to_everybody(self) -> Self:
        if not (self.tls or self.insecure or is_local(self.listen)):
            raise ValueError(
                f"cannot listen on {self.listen} without TLS: anyone who can reach it could run code here; give "
                "--tls FOLDER (`deepmath certs` creates one), or --insecure"
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
        """Return the layers below the flags, which pydantic-settings itself puts first."""
        return init_settings, env_settings, InitSettingsSource(settings_cls, dict(cls.file_values))


def _checked(path: Path | None, read: Callable[[Path], object]) -> Path | None:
    """Return `path` if `read` accepts it, to fail here rather than after a model has been loaded."""
    try:
        if path:
            read(path)
    except InvalidRequest as error:
        raise ValueError(str(error)) from None
    return path


Config = TypeVar("Config", bound=ServiceConfig)


def load(config: type[Config], command: str, arguments: list[str]) -> Config:
    """Return the configuration from `arguments` and the other layers; `--config FILE` names the TOML file.

    Invalid input ends the process with EXIT_USAGE and one line on stderr for each mistake.
    """
    parser = ArgumentParser(command, description=config.__doc__, allow_abbrev=False)
    parser.add_argument("--config", metavar="FILE", help="TOML file of settings; environment and flags override it.")
    flags: CliSettingsSource[ArgumentParser] = CliSettingsSource(config, root_parser=parser)
    parsed, unknown = parser.parse_known_args(arguments)
    if unknown:
        _exit(command, _explain_unknown(unknown, config))
    name: str | None = vars(parsed).pop("config")
    values = _read_toml(command, name) if name else {}
    layered = type(config.__name__, (config,), {"file_values": values, "__doc__": config.__doc__})
    try:
        loaded: Config = layered(_cli_settings_source=flags(parsed_args=parsed))
        return loaded
    except ValidationError as error:
        _exit(command, explain_settings(error, config))
    except SettingsError as error:
        _exit(command, [str(error)])


def _explain_unknown(arguments: list[str], config: type[ServiceConfig]) -> Iterator[str]:
    options = [argument.partition("=")[0] for argument in arguments if argument.startswith("-")]
    known = [name.replace("_", "-") for name in ("config", *config.model_fields)]
    for option in options:
        yield f"unknown option `{option}`{did_you_mean(option.lstrip('-'), known, prefix='--')}"
    if not options:
        yield f"unexpected argument `{arguments[0]}`"


def _read_toml(command: str, name: str) -> dict[str, Any]:
    try:
        return tomllib.loads(read_text(name))
    except InvalidRequest as error:
        _exit(command, [f"the configuration: {error}"])
    except (ValueError, RecursionError) as error:  # not only TOMLDecodeError: an integer may be too long
        _exit(command, [f"the configuration {name} is not valid TOML: {error}"])


def _exit(command: str, mistakes: Iterable[str]) -> NoReturn:
    for mistake in mistakes:
        print_error(command, mistake)
    raise SystemExit(EXIT_USAGE)
