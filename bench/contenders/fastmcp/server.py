"""FastMCP, stateless and with JSON responses, with its JWTVerifier (its docs, "Token Verification")."""

import os
import socket
from pathlib import Path
from typing import Annotated

import uvicorn
from fastmcp import FastMCP
from fastmcp.server.auth.providers.jwt import JWTVerifier
from pydantic import Field

mcp = FastMCP(
    "bench",
    auth=JWTVerifier(
        public_key=Path(os.environ["BENCH_PUBLIC_KEY"]).read_text(),
        issuer=os.environ["BENCH_ISSUER"],
        audience=os.environ["BENCH_AUDIENCE"],
        algorithm="RS256",
        required_scopes=["mcp:tools"],
    ),
)


@mcp.tool
def echo(message: str, repeat_count: Annotated[int, Field(ge=1, le=10)] = 1) -> str:
    """Sends a message back."""
    return message * repeat_count


listener = socket.create_server(("127.0.0.1", 0))
print(f"listening on http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
app = mcp.http_app(path="/mcp", stateless_http=True, json_response=True)
# What FastMCP's own run() would start, on a socket that is ours already.
uvicorn.Server(uvicorn.Config(app, lifespan="on", ws="websockets-sansio")).run(sockets=[listener])
