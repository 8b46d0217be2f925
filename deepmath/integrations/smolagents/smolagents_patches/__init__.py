"""Dependencies on smolagents 1.26 behaviour that is not part of its API, one module each, with a canary test for each.

The tests are in `tests/integrations/test_smolagents_patches.py`.
"""
