"""Reports each optimizer step from transformers' training loop to the trainer."""

from collections.abc import Callable, Mapping
from typing import Any

from transformers import TrainerCallback

from deepmath_trainer.trl_patches.log_keys import is_step_log


class StepCallback(TrainerCallback):  # type: ignore[misc]
    """Calls `after_step` after each optimizer step and `after_log` with what TRL logged of it.

    `after_step` returns whether to write a checkpoint and stop.
    """

    def __init__(self, after_step: Callable[[], bool], after_log: Callable[[Mapping[str, float]], None]) -> None:
        self._after_step, self._after_log = after_step, after_log

    def on_step_end(self, _args: Any, _state: Any, control: Any, **_: Any) -> None:
        """Called by transformers after each optimizer step."""
        if self._after_step():
            control.should_save = control.should_training_stop = True

    def on_log(self, *_: Any, logs: Mapping[str, float], **__: Any) -> None:
        """Called by transformers with what was logged."""
        if is_step_log(logs):
            self._after_log(logs)
