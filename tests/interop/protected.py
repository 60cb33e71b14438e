"""FastMCP as a resource server, as its documentation has it: protected.py ISSUER. For auth-check to judge.

Listens on a free port and prints `listening on URL`.
"""

import logging
import socket
import sys

import uvicorn
from fastmcp import FastMCP
from fastmcp.server.auth import RemoteAuthProvider
from fastmcp.server.auth.providers.jwt import JWTVerifier

logging.disable(logging.WARNING)  # a line for each refusal
issuer = sys.argv[1]
listener = socket.socket()
listener.bind(("127.0.0.1", 0))
url = f"http://127.0.0.1:{listener.getsockname()[1]}"
verifier = JWTVerifier(
    jwks_uri=f"{issuer}/jwks", issuer=issuer, audience=f"{url}/mcp", required_scopes=["files:read"]
)
server = FastMCP("protected", auth=RemoteAuthProvider(verifier, authorization_servers=[issuer], base_url=url))


@server.tool
def greet(name: str) -> str:
    """Says hello."""
    return f"Hello, {name}!"


listener.listen(64)
print(f"listening on {url}", flush=True)
uvicorn.Server(uvicorn.Config(server.http_app(), log_level="warning")).run(sockets=[listener])
