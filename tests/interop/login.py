"""The official Python SDK logs a person in: login.py URL PASSWORD, with the person of login.mjs."""

import asyncio
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx2
from mcp import ClientSession
from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientMetadata


class Storage:
    tokens = client = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client):
        self.client = client


class Person:
    """The person of a script beside this one; allows these scopes the first time, and everything after that."""

    visits = 0

    def __init__(self, script, who, *first):
        self.script, self.who, self.first = Path(__file__).parent / script, who, first

    async def open(self, address):
        scopes = self.first if self.visits == 0 else []
        self.visits += 1
        command = ["node", str(self.script), "person", address, self.who, *scopes]
        done = await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True, text=True, timeout=60)
        self.answer = parse_qs(urlsplit(done.stdout.strip()).query)

    async def callback(self):
        answer = {name: values[0] for name, values in self.answer.items()}
        return AuthorizationCodeResult(code=answer["code"], state=answer["state"], iss=answer["iss"])


async def renews_by(call, auth, storage):
    """The call renews a token that has expired, and the refresh token with it."""
    before = storage.tokens
    auth.context.token_expiry_time = time.time() - 1
    await call()
    assert storage.tokens.refresh_token != before.refresh_token


async def main(url, password):
    storage, person = Storage(), Person("login.mjs", password, "mcp:read")
    metadata = OAuthClientMetadata(client_name="interop", redirect_uris=["http://localhost:1/callback"])
    auth = OAuthClientProvider(url, metadata, storage, person.open, person.callback)
    async with httpx2.AsyncClient(auth=auth, timeout=60) as http:
        async with streamable_http_client(url, http_client=http) as streams:
            async with ClientSession(streams[0], streams[1]) as session:
                await session.initialize()
                tools = await session.list_tools()
                assert tools.tools[0].name == "echo", tools
                assert person.visits == 1 and storage.tokens.scope == "mcp:read", storage.tokens
                print("ok - login, Python SDK: discovery, registration, consent without mcp:tools, tools/list")

                async def echo():
                    echo = await session.call_tool("echo", {"message": "hi", "repeat_count": 2})
                    assert echo.content[0].text == "hihi", echo

                await echo()
                assert person.visits == 2, person.visits
                print("ok - login, Python SDK: steps up when it is refused, and calls")

                await renews_by(echo, auth, storage)
                assert person.visits == 2
                print("ok - login, Python SDK: refreshes when its token has expired")

    # Started again, it does not know when the token it kept expires, and does not refresh at a 401.
    storage.tokens = storage.tokens.model_copy(update={"access_token": "no-longer-valid"})
    auth = OAuthClientProvider(url, metadata, storage, person.open, person.callback)
    async with httpx2.AsyncClient(auth=auth, timeout=60) as http:
        async with streamable_http_client(url, http_client=http) as streams:
            async with ClientSession(streams[0], streams[1]) as session:
                await session.initialize()
                assert person.visits == 3, person.visits
                print("ok - login, Python SDK: started again, logs in again")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
