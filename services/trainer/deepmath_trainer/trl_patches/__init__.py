"""Dependencies on private parts of TRL 1.16.0 and of transformers' Trainer below it, one concern a module.

`tests/trainer/test_trl_patches.py` holds a canary for each; they fail when an upgrade changes what is relied on here.
Importing the package prepares the import of TRL's trainers.
"""

import os

from deepmath_trainer.trl_patches.vllm_import import prevent_vllm_import

prevent_vllm_import()
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")  # warns of `rollout_func`; TRL's version is pinned
