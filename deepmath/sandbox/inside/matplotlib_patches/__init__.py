"""Changes to matplotlib, each with its reason. Loaded only where it is preloaded."""
