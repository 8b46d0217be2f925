"""Dependencies on private parts of openinference-instrumentation-smolagents 0.1.43, with a canary test for each.

The tests are in `tests/integrations/test_smolagents_patches.py`.
"""
