"""Dependencies on grpcio behaviour that is not part of its API, one function each, with a canary test for each.

The tests are in `tests/rpc/test_grpc_patches.py`; they fail when an upgrade of grpcio changes what is relied on here.
"""
