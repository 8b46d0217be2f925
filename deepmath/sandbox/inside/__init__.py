"""Code that runs in the hostile process. Nothing here is imported by a supervisor."""
