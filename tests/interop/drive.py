"""A Python client that does what it is told: drive.py sdk|fastmcp URL. See tests/tests/it/sdks.rs.

Each line of standard input is a command, `connect TOKEN` or `call`; each answer is one line, `ok` or `error` and what
the client's user is told.
"""

import asyncio
import sys
from contextlib import asynccontextmanager

import fastmcp
import httpx2
from fastmcp.client.transports import StreamableHttpTransport
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client

name, url = sys.argv[1:]


@asynccontextmanager
async def sdk(headers):
    async with httpx2.AsyncClient(headers=headers) as http:
        async with streamable_http_client(url, http_client=http) as streams:
            async with ClientSession(streams[0], streams[1]) as session:
                await session.initialize()
                await session.list_tools()
                yield session


@asynccontextmanager
async def with_fastmcp(headers):
    async with fastmcp.Client(StreamableHttpTransport(url, headers=headers)) as client:
        await client.list_tools()
        yield client


def words(error):
    """Of an exception, or of all in a group."""
    if isinstance(error, BaseExceptionGroup):
        return " ".join(words(each) for each in error.exceptions)
    return " ".join(str(error).split()) or type(error).__name__


def answer(error=None):
    print("ok" if error is None else f"error {words(error)}", flush=True)


async def command():
    return (await asyncio.to_thread(sys.stdin.readline)).split()


async def main():
    told = await command()
    while told:
        headers, connected = {"Authorization": f"Bearer {told[1]}"}, False
        try:
            async with {"sdk": sdk, "fastmcp": with_fastmcp}[name](headers) as client:
                connected = True
                answer()
                while (told := await command()) == ["call"]:
                    try:
                        await client.call_tool("echo", {"message": "hi"})
                        answer()
                    except Exception as error:
                        answer(error)
        except Exception as error:
            if connected:
                raise
            answer(error)
            told = await command()


asyncio.run(main())
