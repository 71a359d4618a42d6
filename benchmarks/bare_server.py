"""The least that a server of the same SDK can be: one tool, which does nothing, over the SDK's own stdio."""

from mcp.server.mcpserver import MCPServer

server = MCPServer("bare")


@server.tool()
def nothing() -> str:
    """Do nothing."""
    return "done"


if __name__ == "__main__":
    server.run()
