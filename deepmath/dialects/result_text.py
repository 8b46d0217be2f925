"""Text that shows a snippet's result to a model."""

from deepmath.executor.v1 import executor_pb2 as executor


def render_result(result: executor.SnippetResult) -> str:
    """Return the text of a result: stdout, the value, then one line each for truncation, figures and failure."""
    parts = [result.stdout.rstrip("\n")]
    if result.HasField("value"):
        parts.append(result.value)
    if cut := result.dropped_bytes.stdout + result.dropped_bytes.value:
        parts.append(f"({cut} bytes were cut out of the middle)")
    if figures := len(result.rich_outputs) + result.dropped_rich_outputs:
        parts.append("(1 figure)" if figures == 1 else f"({figures} figures)")
    parts.append(_failure(result))
    return "\n".join(part for part in parts if part) or "(no output)"


def _failure(result: executor.SnippetResult) -> str:
    usage = result.usage
    match result.outcome:
        case executor.OUTCOME_OK:
            return ""
        case executor.OUTCOME_WALL_TIMEOUT:
            return f"TimeoutError: stopped after {usage.wall_ms / 1000:.0f} s; variables are lost"
        case executor.OUTCOME_CPU_TIMEOUT:
            return f"TimeoutError: stopped after {usage.cpu_ms / 1000:.0f} s of processor time; variables are lost"
        case executor.OUTCOME_OUTPUT_LIMIT:
            return "Error: too much output; variables are lost"
    lost = "; variables are lost" if result.state_lost else ""
    if result.HasField("exception"):
        return f"{result.exception.type}: {result.exception.message}{lost}"
    return f"Error: {executor.Outcome.Name(result.outcome).removeprefix('OUTCOME_').lower().replace('_', ' ')}{lost}"
