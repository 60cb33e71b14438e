"""The official Python SDK and FastMCP's client against a step: python.py URL [TOKEN [NARROW_TOKEN]].

NARROW_TOKEN lacks the scope mcp:tools: a call with it must be refused.
"""

import asyncio
import sys

import fastmcp
import httpx2
from fastmcp.client.transports import StreamableHttpTransport
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client

url, token, narrow = (sys.argv[1:] + [None, None])[:3]


def headers(bearer):
    return {"Authorization": f"Bearer {bearer}"} if bearer else {}


async def with_sdk(bearer):
    async with httpx2.AsyncClient(headers=headers(bearer)) as http:
        async with streamable_http_client(url, http_client=http) as streams:
            async with ClientSession(streams[0], streams[1]) as session:
                await session.initialize()
                tools = await session.list_tools()
                assert [tool.name for tool in tools.tools][:2] == ["echo", "get_time"], tools
                echo = await session.call_tool("echo", {"message": "hi", "repeat_count": 2})
                assert echo.content[0].text == "hihi", echo
                prompt = await session.get_prompt("greeting", {"name": "Ada"})
                assert "Ada" in prompt.messages[0].content.text, prompt


async def with_fastmcp(bearer):
    async with fastmcp.Client(StreamableHttpTransport(url, headers=headers(bearer))) as client:
        tools = await client.list_tools()
        assert [tool.name for tool in tools][:2] == ["echo", "get_time"], tools
        echo = await client.call_tool("echo", {"message": "hi", "repeat_count": 2})
        assert echo.content[0].text == "hihi", echo
        prompt = await client.get_prompt("greeting", {"name": "Ada"})
        assert "Ada" in prompt.messages[0].content.text, prompt


async def refused(client, bearer):
    try:
        await asyncio.wait_for(client(bearer), 20)
    except AssertionError:
        raise
    except TimeoutError as error:
        raise AssertionError("hung instead of failing") from error
    except BaseException:  # the SDKs raise exception groups
        return
    raise AssertionError("was not refused")


async def main():
    for name, client in [("Python SDK", with_sdk), ("FastMCP", with_fastmcp)]:
        await client(token)
        print(f"ok - {name}: list, call, get")
        if token:
            await refused(client, None)
            await refused(client, token + "x")
            print(f"ok - {name}: turned away without a valid token")
        if narrow:
            await refused(client, narrow)
            print(f"ok - {name}: 403 without the scope")


asyncio.run(main())
