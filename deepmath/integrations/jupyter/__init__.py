"""Jupyter kernel whose cells run in the sandbox (the extra `jupyter`)."""
