"""Settings of the executor: defaults, a TOML file, DEEPMATH_EXECUTOR_* variables and flags; the later ones win."""

import os
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter, ValidationError, model_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from deepmath.rpc import wire_values
from deepmath.sandbox.allowed_modules import ALLOWED_MODULES, PLOT_LIBRARIES
from deepmath.sandbox.isolation.layers import Level, RequestedLevel
from deepmath.sandbox.limits import Limits
from deepmath.serving.grpc_config import GrpcServiceConfig
from deepmath.serving.path_settings import NameOrPath

_ENVELOPE_BYTES = 64 << 10  # beside a text in a message
BackendName = Literal["native", "docker"]
# Of no use to `--check`, which serves nobody. The image and a pod's environment set some of them.
_SERVING = {"listen", "tls", "insecure", "tokens", "token_file", "health_listen", "metrics_listen", "otlp"}


def _split_at_commas(names: object) -> object:
    return tuple(name.strip() for name in names.split(",") if name.strip()) if isinstance(names, str) else names


def _check_module_names(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        root = name.partition(".")[0]
        if not root.isidentifier():
            raise ValueError(f"{name!r} is not the name of a module")
        if name != root:
            raise ValueError(f"{name!r} is a part of a module; give the top-level module {root!r}")
    return names


def _is_true(setting: object) -> bool:
    """Whether a setting that is not validated yet is true."""
    try:
        return bool(TypeAdapter(bool).validate_python(setting))
    except ValidationError:  # reported with the other mistakes
        return False


ModuleNames = Annotated[
    tuple[str, ...], NoDecode, BeforeValidator(_split_at_commas), AfterValidator(_check_module_names)
]
"""Names of top-level modules; in an environment variable, separated by commas."""


class ExecutorConfig(GrpcServiceConfig):
    """Run untrusted Python snippets, each session in its own sandbox."""

    model_config = SettingsConfigDict(env_prefix="DEEPMATH_EXECUTOR_")

    level: RequestedLevel = Field(
        "best",
        description="Isolation level: full (every layer), pod (no namespaces), best (full if the kernel allows).",
    )
    require: Level = Field("pod", description="Refuse to start below this isolation level.")
    backend: BackendName = Field(
        "native", description="Sandbox backend: native (processes forked here) or docker (one container per session)."
    )
    image: str = Field("deepmath-executor", min_length=1, description="Container image (docker backend).")
    runtime: str = Field(
        "", description="Container runtime, such as runc (docker backend; empty: the engine's default)."
    )
    preload: Literal["maths", "plots", "none"] = Field(
        "maths",
        description="Modules that sandboxes start with: maths (the maths libraries), plots (also matplotlib, whose "
        "figures are returned as images), or none for a fast start.",
    )
    allow_module: ModuleNames = Field(
        (), description="Let snippets import this top-level module too. Repeat the option, or separate names by commas."
    )
    deny_module: ModuleNames = Field(
        (), description="Do not let snippets import this module, which is allowed by default. Repeated in the same way."
    )
    check: bool = Field(False, description="Test every isolation layer, print one JSON object per layer, and exit.")

    wall_ms: int = Field(20_000, gt=0, description="Default wall-clock limit of a snippet, in ms.")
    cpu_ms: int = Field(20_000, gt=0, description="Default processor-time limit of a snippet, in ms.")
    memory_bytes: int = Field(512 << 20, gt=0, description="Default memory limit of a snippet, in bytes.")
    output_bytes: int = Field(
        16 << 10, gt=0, description="Default number of bytes kept of stdout, of stderr, and of the value."
    )
    maximum_wall_ms: int = Field(120_000, gt=0, description="Highest wall-clock limit a snippet may request, in ms.")
    maximum_cpu_ms: int = Field(120_000, gt=0, description="Highest processor-time limit a snippet may request, in ms.")
    maximum_memory_bytes: int = Field(
        4 << 30, gt=0, description="Highest memory limit a snippet may request, in bytes."
    )
    maximum_output_bytes: int = Field(
        256 << 10, gt=0, description="Highest output limit a snippet may request, in bytes of each text."
    )
    maximum_stdin_bytes: int = Field(
        512 << 10, ge=0, description="Maximum size of a snippet's standard input, in bytes; 0: none."
    )

    host_call_ms: int = Field(60_000, gt=0, description="Default timeout of one host call, in ms.")
    maximum_host_call_ms: int = Field(
        600_000, gt=0, description="Longest host-call timeout a snippet may request, in ms."
    )
    host_calls: int = Field(100, gt=0, description="Default number of host calls per snippet.")
    maximum_host_calls: int = Field(1000, gt=0, description="Highest number of host calls a snippet may request.")

    grace_ms: int = Field(
        50, ge=0, description="Time for a snippet to end after its TimeoutError before it is killed, in ms."
    )
    cgroup: bool = Field(
        True,
        description="Put sandboxes into a control group if one can be created (native backend); the supervisor limits "
        "their memory otherwise.",
    )
    max_total_memory_bytes: int = Field(
        0, ge=0, description="Memory of all sandboxes together, in bytes (0: 90 % of the machine's or cgroup's memory)."
    )

    waiting_sandboxes: int = Field(8, ge=0, description="Locked-down sandboxes kept ready for new sessions.")
    max_message_bytes: int = Field(
        wire_values.RESULT_BYTES + _ENVELOPE_BYTES,
        gt=0,
        description="Maximum size of a message from a client, in bytes: the longest result of a host call, or code and "
        "standard input.",
    )
    max_unread_bytes: int = Field(
        16 << 20, gt=0, description="Memory for requests of unary calls that are being received, in bytes."
    )
    max_message_fields: int = Field(
        4096, gt=0, description="Maximum number of fields in a message from a client, nested ones included."
    )
    max_sessions: int = Field(
        512, gt=0, description="Maximum number of open sessions; more are refused with a retry delay."
    )
    open_seconds: float = Field(10.0, gt=0, description="Time for a stream to open its session, in seconds.")
    max_running_snippets: int = Field(
        default_factory=lambda: len(os.sched_getaffinity(0)),
        gt=0,
        description="Maximum number of running snippets (default: one per core); others queue.",
    )
    max_queued_snippets: int = Field(
        256,
        gt=0,
        description="Reject new sessions while this many snippets are queued; open sessions are unaffected.",
    )
    max_sessions_per_client: int = Field(0, ge=0, description="Maximum open sessions per client (0: no limit).")
    max_running_per_client: int = Field(0, ge=0, description="Maximum running snippets per client (0: no limit).")
    snippets_per_second_per_client: float = Field(
        0.0, ge=0, allow_inf_nan=False, description="Average rate of snippets per client, per second (0: no limit)."
    )
    burst: int = Field(10, gt=0, description="Snippets a rate-limited client may start at once.")
    idle_seconds: float = Field(
        600.0, gt=0, description="Close a session after this many seconds without a message from its client."
    )
    lifetime_seconds: float = Field(
        3600.0, gt=0, description="Close a session at this age in seconds; a running snippet finishes first."
    )

    audit_file: NameOrPath = Field("", description="Append the audit log to this file (default: write it to stderr).")
    audit_sample: float = Field(
        1.0,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="Fraction of the sessions whose successful snippets are in the audit log. Others always are.",
    )
    audit_code: bool = Field(False, description="Write the code of each snippet to the audit log, not only its hash.")

    @property
    def default_limits(self) -> Limits:
        """Limits of a snippet that requests none."""
        return Limits(self.wall_ms, self.cpu_ms, self.memory_bytes, self.output_bytes)

    @property
    def maximum_limits(self) -> Limits:
        """Highest limits that a snippet may request."""
        return Limits(self.maximum_wall_ms, self.maximum_cpu_ms, self.maximum_memory_bytes, self.maximum_output_bytes)

    @property
    def allowed_modules(self) -> tuple[str, ...]:
        """Top-level modules that a snippet may import."""
        plots = PLOT_LIBRARIES if self.preload == "plots" else ()
        return tuple(sorted({*ALLOWED_MODULES, *plots, *self.allow_module} - {*self.deny_module}))

    @model_validator(mode="before")
    @classmethod
    def _check_needs_no_address(cls, values: dict[str, Any]) -> dict[str, Any]:
        return {name: values[name] for name in values.keys() - _SERVING} if _is_true(values.get("check")) else values

    @model_validator(mode="after")
    def _denied_modules_are_allowed_ones(self) -> "ExecutorConfig":
        for name in self.deny_module:
            if name not in (*ALLOWED_MODULES, *PLOT_LIBRARIES, *self.allow_module):
                raise ValueError(f"deny_module: module {name!r} is not allowed anyway; leave it out")
        return self

    @model_validator(mode="after")
    def _defaults_are_within_the_maximum(self) -> "ExecutorConfig":
        for name in ("wall_ms", "cpu_ms", "memory_bytes", "output_bytes", "host_call_ms", "host_calls"):
            if getattr(self, name) > getattr(self, f"maximum_{name}"):
                raise ValueError(f"{name} is over maximum_{name}; lower {name} or raise maximum_{name}")
        return self

    @model_validator(mode="after")
    def _stdin_fits_in_a_message(self) -> "ExecutorConfig":
        is_set = "maximum_stdin_bytes" in self.model_fields_set
        if is_set and (least := self.maximum_stdin_bytes + _ENVELOPE_BYTES) > self.max_message_bytes:
            raise ValueError(
                f"maximum_stdin_bytes does not fit in a message; raise max_message_bytes to {least} or more"
            )
        return self
