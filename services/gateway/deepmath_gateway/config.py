"""Configuration of the gateway."""

from typing import Annotated, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from deepmath.serving.path_settings import PathSetting
from deepmath.serving.service_config import ServiceConfig


def _split_at_commas(values: object) -> object:
    return tuple(one.strip() for one in values.split(",") if one.strip()) if isinstance(values, str) else values


def _check_origins(origins: tuple[str, ...]) -> tuple[str, ...]:
    for origin in origins:
        scheme, separator, rest = origin.partition("://")
        if not separator or scheme not in ("http", "https") or not rest or "/" in rest or "*" in rest:
            raise ValueError(f"{origin!r} is not an origin; give https://HOST or https://HOST:PORT")
    return origins


Origins = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_at_commas), AfterValidator(_check_origins)]


class GatewayConfig(ServiceConfig):
    """Serve the generator and the executors to clients of OpenAI's API, MCP and the field's sandbox protocols."""

    model_config = SettingsConfigDict(env_prefix="DEEPMATH_GATEWAY_")

    generator: str | None = Field(
        None,
        description="Address of the generators: HOST:PORT, unix:PATH, dns:///NAME:PORT, or IP:PORT,IP:PORT,... Without "
        "it, the protocols that need one are not served.",
    )
    executor: str | None = Field(None, description="Address of the executors, in the same forms.")
    executor_patience_s: float = Field(
        10.0, gt=0, description="Timeout for reaching an executor with capacity before a request fails, in seconds."
    )

    tls: PathSetting | None = Field(
        None,
        description="Folder with tls.crt, tls.key and ca.crt: serve HTTPS, and use it as a client of the other "
        "services. Without --tokens, clients must present a certificate of ca.crt. Changed files are reloaded.",
    )
    cors_origin: Origins = Field(
        (),
        description="Let pages of this origin (https://HOST[:PORT]) call from a browser. Repeat the option, or "
        "separate origins by commas. Default: none.",
    )
    connection_idle_seconds: float = Field(
        75.0, gt=0, allow_inf_nan=False, description="Close a connection without requests after this time, in seconds."
    )
    max_header_bytes: int = Field(
        32 << 10, ge=1024, le=1 << 20, description="Maximum size of a request's head, in bytes."
    )
    max_message_bytes: int = Field(4 << 20, gt=0, description="Maximum size of a request's body, in bytes.")
    max_unread_bytes: int = Field(
        64 << 20, gt=0, description="Memory for bodies that are being received, in bytes; more bodies wait."
    )
    receive_seconds: float = Field(
        30.0, gt=0, allow_inf_nan=False, description="Time for the body of a request to arrive, in seconds."
    )
    send_seconds: float = Field(
        60.0, gt=0, allow_inf_nan=False, description="Cancel a request whose client has not read for this time."
    )

    max_sessions: int = Field(512, gt=0, description="Maximum open sessions of the sandbox protocols.")
    max_sessions_per_client: int = Field(256, gt=0, description="Maximum open sessions per client.")
    session_idle_seconds: float = Field(
        600.0, gt=0, allow_inf_nan=False, description="End a session after this many seconds without a snippet."
    )
    session_lifetime_seconds: float = Field(
        3600.0, gt=0, allow_inf_nan=False, description="End a session at this age in seconds."
    )

    @model_validator(mode="after")
    def _has_a_backend(self) -> Self:
        if not (self.generator or self.executor):
            raise ValueError("give --generator ADDRESS, --executor ADDRESS, or both: the gateway serves nothing else")
        return self
