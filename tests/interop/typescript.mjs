// The official TypeScript SDK, v1 and v2, against a step:
//   node typescript.mjs URL [TOKEN [NARROW_TOKEN]]
// NARROW_TOKEN lacks the scope mcp:tools: a call with it must be refused.
import assert from "node:assert/strict";
import * as v2 from "@modelcontextprotocol/client";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

const [url, token, narrow] = process.argv.slice(2);
const sdks = { v1: { Client, StreamableHTTPClientTransport }, v2 };

async function connect(sdk, bearer) {
  const headers = bearer ? { Authorization: `Bearer ${bearer}` } : {};
  const client = new sdk.Client({ name: "interop", version: "1.0.0" });
  await client.connect(new sdk.StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } }));
  return client;
}

for (const [name, sdk] of Object.entries(sdks)) {
  const client = await connect(sdk, token);
  const { tools } = await client.listTools();
  assert.deepEqual(tools.slice(0, 2).map((tool) => tool.name), ["echo", "get_time"]);
  const echo = await client.callTool({ name: "echo", arguments: { message: "hi", repeat_count: 2 } });
  assert.deepEqual(echo.structuredContent, { text: "hihi" });
  const wrong = await client.callTool({ name: "echo", arguments: { repeat_count: 2 } });
  assert.equal(wrong.isError, true);
  const { prompts } = await client.listPrompts();
  assert.deepEqual(prompts.map((prompt) => prompt.name), ["greeting", "help"]);
  const greeting = await client.getPrompt({ name: "greeting", arguments: { name: "Ada" } });
  assert.match(greeting.messages[0].content.text, /Ada/);
  await client.close();
  console.log(`ok - TypeScript SDK ${name}: list, call, get`);

  if (token) {
    await assert.rejects(connect(sdk, undefined), "connected without a token");
    await assert.rejects(connect(sdk, `${token}x`), "connected with a broken token");
    console.log(`ok - TypeScript SDK ${name}: turned away without a valid token`);
  }
  if (narrow) {
    const guest = await connect(sdk, narrow);
    assert.equal((await guest.listTools()).tools[0].name, "echo");
    await assert.rejects(guest.callTool({ name: "echo", arguments: { message: "hi" } }), "called without the scope");
    await guest.close();
    console.log(`ok - TypeScript SDK ${name}: 403 without the scope`);
  }
}
