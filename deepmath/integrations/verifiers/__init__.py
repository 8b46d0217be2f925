"""Integration into verifiers and prime-rl: a taskset of maths problems with Python in our sandboxes as its tool.

Tested with verifiers 0.4. It finds a taskset by the name of a module at the top level that exports one, as
`examples/maths_with_python.py` does.
"""

from deepmath.integrations.verifiers.maths_taskset import MathsTask, MathsTaskset, MathsTasksetConfig
from deepmath.integrations.verifiers.python_toolset import PythonToolset, PythonToolsetConfig, SandboxState

__all__ = ["MathsTask", "MathsTaskset", "MathsTasksetConfig", "PythonToolset", "PythonToolsetConfig", "SandboxState"]
