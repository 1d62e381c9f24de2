"""The MCP server: read-only answers for a coding agent, over the official SDK (extra `[mcp]`)."""
