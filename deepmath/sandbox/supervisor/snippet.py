"""One snippet, as a supervisor sends it to a sandbox."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from deepmath.executor.v1 import executor_pb2 as pb
from deepmath.sandbox import frames
from deepmath.sandbox.limits import Limits
from deepmath.sandbox.supervisor.output_preview import OutputPreview


@dataclass(frozen=True, slots=True)
class HostFunctionOffer:
    """The client's functions that one snippet may call.

    Attributes:
        functions: Signatures by name.
        call_ms: Time to answer each call, in milliseconds.
        calls: Calls allowed in all.
    """

    functions: Mapping[str, pb.HostFunction]
    call_ms: int
    calls: int

    def to_request(self) -> str:
        """Return the functions as the JSON that the runner reads."""
        return json.dumps(
            [
                {"name": name, "parameters": list(function.parameters), "ends_snippet": function.ends_snippet}
                for name, function in self.functions.items()
            ]
        )


@dataclass(frozen=True, slots=True)
class Snippet:
    """Code to run in a sandbox.

    Attributes:
        sequence: Number of the snippet in its session, from 1.
        code: Python source text.
        limits: Resource limits.
        seed: Seed of the random number generators; only with the first snippet of a sandbox.
        as_json: Return the value as JSON (`deepmath.rpc.wire_values`), not as its `repr`.
        offer: Functions of the client that the snippet may call.
        stdin: Standard input.
        preview: Reads the output while the snippet runs.
    """

    sequence: int
    code: str
    limits: Limits
    seed: int | None = None
    as_json: bool = False
    offer: HostFunctionOffer | None = None
    stdin: str = ""
    preview: OutputPreview | None = None

    def to_request(self) -> frames.Fields:
        """Return the request that the runner reads."""
        request: dict[str, str | int] = {
            "sequence": self.sequence,
            "code": self.code,
            "output_bytes": self.limits.output_bytes,
        }
        if self.seed is not None:
            request["seed"] = self.seed
        if self.as_json:
            request["json"] = 1
        if self.offer is not None:
            request["host"] = self.offer.to_request()
        if self.stdin:
            request["stdin"] = self.stdin
        return request
