"""Environment of one rollout: the tool `python`, whose variables live as long as the rollout."""

from functools import cache
from typing import Any

from deepmath.integrations.trl.rollout_sandboxes import RolloutSandboxes


@cache
def _default_sandboxes() -> RolloutSandboxes:
    return RolloutSandboxes()


class PythonEnvironment:
    """TRL's `environment_factory`, or `functools.partial` of it with sandboxes. TRL reuses an environment by `reset`.

    TRL makes every public method but `reset` a tool. An infrastructure failure is remembered in `failed` until then,
    and `accuracy_reward` and `unless_failed` give no reward.
    """

    def __init__(self, sandboxes: RolloutSandboxes | None = None) -> None:
        self._sandboxes = sandboxes or _default_sandboxes()
        self._sandbox = self._sandboxes.open()

    @property
    def failed(self) -> bool:
        """Whether an infrastructure failure has kept a call of the rollout from its result."""
        return self._sandbox.failed

    def reset(self, **_: Any) -> None:
        """Start the next rollout. No infrastructure failure is raised here: the sandbox starts with a call.

        Raises:
            DeepMathError: The executor refuses the trainer, so that no rollout would have a reward.
        """
        self._sandboxes.end(self._sandbox)
        self._sandbox = self._sandboxes.open()

    def python(self, code: str) -> str:
        """Run Python and return what it prints, followed by the value of its last expression. Variables are kept.

        Args:
            code: Python code.
        """
        return self._sandbox.run(code)
