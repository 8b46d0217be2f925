"""OpenAI's API: the maths agent and plain chat as two models, for chat completions and responses."""
