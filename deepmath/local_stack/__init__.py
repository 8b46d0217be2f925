"""The services as processes of this machine, and the embedded model."""
