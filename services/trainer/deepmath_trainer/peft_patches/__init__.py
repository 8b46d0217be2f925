"""Dependencies on the layout of peft's layers. `tests/trainer/test_peft_patches.py` holds a canary for each."""
