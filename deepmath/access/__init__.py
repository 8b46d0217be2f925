"""Authentication and authorization: certificates, tokens, scopes and per-client limits."""
