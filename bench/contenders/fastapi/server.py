"""A server built as the Python original's step 8 is: FastAPI on uvicorn, an HTTP middleware that looks at Origin, the
token from HTTPBearer checked by PyJWT in a dependency, the message as a pydantic model, a line in the log at each
stage. (Unlike the original it does not run without a key, and compares the Origin whole.)"""

import logging
import os
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jwt
import uvicorn
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from mcp.types import TextContent, Tool
from pydantic import BaseModel, Field

logging.basicConfig(level=logging.INFO)
log = logging.getLogger(__name__)
key = load_pem_public_key(Path(os.environ["BENCH_PUBLIC_KEY"]).read_bytes())
app = FastAPI(title="bench")


class Message(BaseModel):
    jsonrpc: str
    id: str | int | None = None
    method: str
    params: dict[str, Any] = {}


class Echo(BaseModel):
    message: str = Field(description="the text to send back")
    repeat_count: int = Field(default=1, ge=1, le=10)


ECHO = Tool(name="echo", description="Sends a message back.", inputSchema=Echo.model_json_schema())


@app.middleware("http")
async def check_origin(request: Request, call_next):
    origin = request.headers.get("origin")
    if origin and urlsplit(origin).hostname not in ("localhost", "127.0.0.1"):
        log.warning("origin refused")
        return JSONResponse({"detail": "This origin is not allowed."}, 403)
    log.info("origin accepted")
    return await call_next(request)


async def claims(credentials: HTTPAuthorizationCredentials | None = Depends(HTTPBearer(auto_error=False))):
    try:
        if credentials is None:
            raise jwt.InvalidTokenError("there is no token")
        found = jwt.decode(
            credentials.credentials,
            key,
            algorithms=["RS256"],
            issuer=os.environ["BENCH_ISSUER"],
            audience=os.environ["BENCH_AUDIENCE"],
            options={"require": ["exp", "sub"]},
        )
    except jwt.InvalidTokenError as error:
        log.warning("token refused: %s", error)
        raise HTTPException(401, "invalid token", {"WWW-Authenticate": "Bearer"}) from error
    log.info("token of %s accepted", found["sub"])
    return found


def permitted(user: dict[str, Any]) -> bool:
    allowed = "mcp:tools" in user["scope"].split()
    log.info("scope of %s %s", user["sub"], "suffices" if allowed else "does not suffice")
    return allowed


@app.post("/mcp")
async def mcp(request: Request, user: dict[str, Any] = Depends(claims)):
    message = Message(**await request.json())
    log.info("%s from %s", message.method, user["sub"])
    if not permitted(user):
        return JSONResponse({"detail": "insufficient scope"}, 403)
    if message.method == "tools/list":
        result = {"tools": [ECHO.model_dump(exclude_none=True)]}
    elif message.method == "tools/call" and message.params.get("name") == "echo":
        echo = Echo(**message.params["arguments"])
        content = TextContent(type="text", text=echo.message * echo.repeat_count)
        result = {"content": [content.model_dump(exclude_none=True)], "isError": False}
    else:
        error = {"code": -32601, "message": "Method not found"}
        return JSONResponse({"jsonrpc": "2.0", "id": message.id, "error": error})
    return JSONResponse({"jsonrpc": "2.0", "id": message.id, "result": result})


listener = socket.create_server(("127.0.0.1", 0))
print(f"listening on http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
uvicorn.Server(uvicorn.Config(app)).run(sockets=[listener])
