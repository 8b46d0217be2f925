"""The executor: runs Python snippets that nobody trusts, each session in a sandbox of its own."""
