"""Tools of the Model Context Protocol (MCP): Python in a sandbox, and the maths agent (the extra `mcp`)."""
