"""All code that runs in the hostile process. No other package imports it."""
