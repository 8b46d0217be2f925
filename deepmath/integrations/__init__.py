"""The services inside of other people's frameworks. Each is an extra of its own, and loaded by nothing else here."""
