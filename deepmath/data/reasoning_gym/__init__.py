"""Problems of reasoning-gym (PyPI, Apache-2.0): 100 and more procedural generators, each with its own scorer."""
