"""Who may call: certificates, tokens, and what a client may ask for."""
