"""Resource limits of one snippet."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one snippet, all positive.

    Attributes:
        wall_ms: Wall-clock time, in milliseconds.
        cpu_ms: Processor time, in milliseconds.
        memory_bytes: Address space on top of the preloaded modules.
        output_bytes: Bytes kept of each text: stdout, stderr, value, exception message.
    """

    wall_ms: int = 20_000
    cpu_ms: int = 20_000
    memory_bytes: int = 512 << 20
    output_bytes: int = 16 << 10
