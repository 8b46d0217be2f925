"""What the executor can be told: defaults, a TOML file, DEEPMATH_EXECUTOR_* variables and flags, later ones win."""

import os
from typing import Literal

from pydantic import Field, model_validator
from pydantic_settings import SettingsConfigDict

from deepmath.sandbox.limits import Limits
from deepmath.serving.service_config import ServiceConfig

Level = Literal["full", "pod"]
AnyLevel = Literal["best", "full", "pod"]
BackendName = Literal["native", "docker"]


class ExecutorConfig(ServiceConfig):
    """Runs Python snippets that nobody trusts, each session in a sandbox of its own."""

    model_config = SettingsConfigDict(env_prefix="DEEPMATH_EXECUTOR_")

    level: AnyLevel = Field(
        "best", description="Isolation: full is every layer, pod goes without namespaces, best is what can be had."
    )
    require: Level = Field("pod", description="Refuse to start where less than this level can be had.")
    backend: BackendName = Field(
        "native", description="Where sandboxes come from: forked here, or a container of docker for each session."
    )
    image: str = Field("deepmath-executor", min_length=1, description="Image of the containers (docker only).")
    runtime: str = Field(
        "", description="Runtime of the containers, such as runsc (docker only; empty: the engine's own default)."
    )
    check: bool = Field(False, description="Try every isolation layer, print one JSON object for each, and exit.")

    wall_ms: int = Field(20_000, gt=0, description="Wall-clock limit of a snippet that asks for none, in ms.")
    cpu_ms: int = Field(20_000, gt=0, description="Processor-time limit of a snippet that asks for none, in ms.")
    memory_bytes: int = Field(512 << 20, gt=0, description="Memory limit of a snippet that asks for none, in bytes.")
    output_bytes: int = Field(16 << 10, gt=0, description="Bytes kept of each text where a snippet asks for none.")
    maximum_wall_ms: int = Field(120_000, gt=0, description="The longest wall-clock limit a snippet may ask for.")
    maximum_cpu_ms: int = Field(120_000, gt=0, description="The longest processor-time limit a snippet may ask for.")
    maximum_memory_bytes: int = Field(4 << 30, gt=0, description="The highest memory limit a snippet may ask for.")
    maximum_output_bytes: int = Field(256 << 10, gt=0, description="The most bytes of each text a snippet may ask for.")

    host_call_ms: int = Field(60_000, gt=0, description="Time to answer a host call where a snippet asks for none.")
    maximum_host_call_ms: int = Field(600_000, gt=0, description="The longest a snippet may ask for to answer a call.")
    host_calls: int = Field(100, gt=0, description="Host calls of a snippet that asks for no number.")
    maximum_host_calls: int = Field(1000, gt=0, description="The most host calls that a snippet may ask for.")

    grace_ms: int = Field(
        50, ge=0, description="After a time limit the snippet has so long to end by its TimeoutError before SIGKILL."
    )
    cgroup: bool = Field(
        True, description="Put sandboxes into a control group where one can be made (native); else memory is watched."
    )
    max_total_memory_bytes: int = Field(
        0, ge=0, description="Memory of all sandboxes (0: nine tenths of what this machine or its cgroup has)."
    )

    waiting_sandboxes: int = Field(8, ge=0, description="Sandboxes kept forked and locked down, ready for a session.")
    max_sessions: int = Field(512, gt=0, description="Sessions open at once; more are refused and told when to return.")
    open_seconds: float = Field(10.0, gt=0, description="A stream that has not opened its session by then is ended.")
    max_running_snippets: int = Field(
        default_factory=lambda: len(os.sched_getaffinity(0)),
        gt=0,
        description="Snippets running at once (default: one for each core); others queue.",
    )
    max_queued_snippets: int = Field(
        256, gt=0, description="With so many in the queue no session is opened; those that are open go on."
    )
    max_sessions_per_client: int = Field(0, ge=0, description="Sessions open at once for one client (0: no limit).")
    max_running_per_client: int = Field(0, ge=0, description="Snippets running at once for one client (0: no limit).")
    snippets_per_second_per_client: float = Field(
        0.0, ge=0, allow_inf_nan=False, description="Snippets started for one client, on average (0: no limit)."
    )
    burst: int = Field(10, gt=0, description="Snippets that a client may start at once when it has a rate limit.")
    idle_seconds: float = Field(600.0, gt=0, description="A session that is sent nothing for so long is ended.")
    lifetime_seconds: float = Field(3600.0, gt=0, description="A session is ended at this age, after what it runs.")

    preflight: bool = Field(True, description="Tell of syntax errors and refused imports without a sandbox.")
    audit_file: str = Field("", description="Append the audit log to this file (default: write it to stderr).")
    audit_code: bool = Field(False, description="Write the code of each snippet to the audit log, not its hash only.")

    @property
    def default_limits(self) -> Limits:
        """Limits of a snippet that asks for none."""
        return Limits(self.wall_ms, self.cpu_ms, self.memory_bytes, self.output_bytes)

    @property
    def maximum_limits(self) -> Limits:
        """The most that a snippet may ask for."""
        return Limits(self.maximum_wall_ms, self.maximum_cpu_ms, self.maximum_memory_bytes, self.maximum_output_bytes)

    @model_validator(mode="after")
    def _defaults_are_within_the_maximum(self) -> "ExecutorConfig":
        for name in ("wall_ms", "cpu_ms", "memory_bytes", "output_bytes", "host_call_ms", "host_calls"):
            if getattr(self, name) > getattr(self, f"maximum_{name}"):
                raise ValueError(f"{name} is over maximum_{name}: lower the one or raise the other")
        return self
