"""The official Python SDK logs alice in at a real Keycloak: keycloak.py URL ISSUER, with the person of keycloak.mjs."""

import asyncio
import sys

import httpx2
from login import Person, Storage, renews_by
from mcp import ClientSession
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientMetadata

REDIRECT = "http://localhost:1/callback"  # as in keycloak.mjs


async def main(url, issuer):
    storage, person = Storage(), Person("keycloak.mjs", "alice")
    metadata = OAuthClientMetadata(client_name="interop", redirect_uris=[REDIRECT])
    auth = OAuthClientProvider(url, metadata, storage, person.open, person.callback)
    async with httpx2.AsyncClient(auth=auth, timeout=60) as http:
        async with streamable_http_client(url, http_client=http) as streams:
            async with ClientSession(streams[0], streams[1]) as session:
                await session.initialize()
                tools = await session.list_tools()
                assert "whoami" in [tool.name for tool in tools.tools], tools

                async def whoami():
                    me = (await session.call_tool("whoami", {})).structured_content
                    assert (me["username"], me["iss"], me["roles"]) == ("alice", issuer, ["user"]), me

                await whoami()
                print("ok - Keycloak, Python SDK: registration, alice at Chromium, user: tools")

                await renews_by(whoami, auth, storage)
                assert person.visits == 1
                print("ok - Keycloak, Python SDK: refreshes when its token has expired")


asyncio.run(main(*sys.argv[1:]))
