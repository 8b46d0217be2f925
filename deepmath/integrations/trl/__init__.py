"""Integration into TRL's trainers: rollouts that run Python in our sandboxes, and rewards by graded answers.

Nothing here imports TRL. Tested with TRL 1.16, whose GRPOTrainer leaves a completion out of the loss if every reward
function returns None for it.
"""

from deepmath.integrations.trl.answer_reward import accuracy_reward
from deepmath.integrations.trl.chat_markup import use_tool_call_dialect
from deepmath.integrations.trl.failed_rollouts import unless_failed
from deepmath.integrations.trl.python_environment import PythonEnvironment
from deepmath.integrations.trl.rollout_sandboxes import RolloutSandboxes

__all__ = ["PythonEnvironment", "RolloutSandboxes", "accuracy_reward", "unless_failed", "use_tool_call_dialect"]
