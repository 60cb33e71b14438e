// A TypeScript client that does what it is told: node drive.mjs v1|v2 URL. See tests/tests/it/sdks.rs, and drive.py for
// the commands.
import { createInterface } from "node:readline";
import * as v2 from "@modelcontextprotocol/client";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

const [version, url] = process.argv.slice(2);
const sdk = { v1: { Client, StreamableHTTPClientTransport }, v2 }[version];

let client;
async function connect(token) {
  client = new sdk.Client({ name: "interop", version: "1.0.0" });
  const headers = { Authorization: `Bearer ${token}` };
  await client.connect(new sdk.StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } }));
  await client.listTools();
}

for await (const line of createInterface({ input: process.stdin })) {
  const [command, token] = line.split(" ");
  try {
    await (command === "connect" ? connect(token) : client.callTool({ name: "echo", arguments: { message: "hi" } }));
    console.log("ok");
  } catch (error) {
    console.log(`error ${String(error?.message ?? error).replace(/\s+/g, " ")}`);
  }
}
