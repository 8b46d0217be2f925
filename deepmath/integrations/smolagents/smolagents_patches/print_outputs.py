"""The key under which an executor's state keeps the output of its last snippet."""

PRINT_OUTPUTS = "_print_outputs"
"""`CodeAgent._step_stream` reads `executor.state["_print_outputs"]` for the output of a snippet that failed
(`agents.py`). PythonExecutor's interface does not mention it, and no upstream issue is known."""
