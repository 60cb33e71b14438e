// Real clients that are given only the URL of an MCP server, and the person who logs in for them:
//   node login.mjs sdk|mcp-remote|inspector|inspector-page URL PASSWORD
//   (inspector-page: in the browser that CHROMIUM names)
//   node login.mjs conformance ISSUER PASSWORD CLIENT_ID RESOURCE PORT
//   node login.mjs person AUTHORIZATION_URL PASSWORD [SCOPE…]: prints where the browser is sent in the end
// The person's part is what a browser does: pages, cookies, forms, and redirects that are looked at.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as v2 from "@modelcontextprotocol/client";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { launchChromium, Provider } from "./parts.mjs";
import { freePort } from "./port.mjs";

const [what, url, password, ...rest] = process.argv.slice(2);
const modules = new URL("node_modules/", import.meta.url).pathname;
const seconds = (count) => AbortSignal.timeout(count * 1000);

/** Logs alice in and allows these scopes (all that are asked for, if none are named): where the browser is sent. */
async function person(authorizationUrl, scopes) {
  const cookies = new Map();
  const send = async (address, form) => {
    const response = await fetch(address, {
      method: form ? "POST" : "GET",
      redirect: "manual",
      signal: seconds(20),
      headers: { Cookie: [...cookies].map(([name, value]) => `${name}=${value}`).join("; "), Origin: new URL(address).origin },
      body: form && new URLSearchParams(form),
    });
    for (const cookie of response.headers.getSetCookie()) {
      const [name, ...value] = cookie.split(";")[0].split("=");
      cookies.set(name, value.join("="));
    }
    const text = await response.text();
    assert.ok(response.status === 200 || response.status === 303, `${address}: ${response.status} ${text}`);
    return { text, location: response.headers.get("location") };
  };
  const attribute = (tag, name) =>
    tag.match(new RegExp(`\\b${name}="([^"]*)"`))?.[1].replace(/&(?:#(\d+)|#x([0-9a-f]+)|(amp));/gi, (_, decimal, hex, amp) =>
      amp ? "&" : String.fromCodePoint(decimal ? Number(decimal) : parseInt(hex, 16)));
  const inputs = (page, name) => (page.match(/<input\b[^>]*>/g) ?? []).filter((tag) => attribute(tag, "name") === name);
  const form = (page) => ({
    action: new URL(attribute(page.match(/<form\b[^>]*>/)[0], "action"), authorizationUrl),
    csrf: attribute(inputs(page, "csrf")[0], "value"),
  });

  const login = await send(authorizationUrl);
  const { action, csrf } = form(login.text);
  const welcome = await send(action, [["csrf", csrf], ["username", "alice"], ["password", password]]);
  const consent = await send(new URL(welcome.location, authorizationUrl));
  const asked = inputs(consent.text, "scope").filter((tag) => !/\bdisabled\b/.test(tag)).map((tag) => attribute(tag, "value"));
  const ticked = asked.filter((scope) => !scopes || scopes.includes(scope));
  const decide = form(consent.text);
  const answer = await send(decide.action, [["csrf", decide.csrf], ["decision", "allow"], ...ticked.map((scope) => ["scope", scope])]);
  assert.ok(answer.location, answer.text);
  return new URL(answer.location);
}

/** What a program prints; the person opens each authorization URL in it, and allows only mcp:read at `narrow` visits. */
class Printed {
  text = "";
  visits = new Map();
  constructor(narrow = 0) {
    this.narrow = narrow;
  }
  read = (chunk) => {
    this.text += chunk;
    for (const [, address] of this.text.matchAll(/(http:\/\/\S+\/authorize\?\S+)\s/g)) {
      if (!this.visits.has(address)) this.visits.set(address, visit(address, this.visits.size < this.narrow ? ["mcp:read"] : undefined));
    }
  };
}

/** Runs a program to its end. */
async function run(program, args, env = {}, narrow = 0) {
  const child = spawn(program, args, { env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "pipe"] });
  const timer = setTimeout(() => child.kill(), 60_000);
  const printed = new Printed(narrow);
  child.stdout.on("data", printed.read);
  child.stderr.on("data", printed.read);
  const code = await new Promise((resolve) => child.on("close", resolve));
  clearTimeout(timer);
  await Promise.all(printed.visits.values());
  return { code, text: printed.text, visits: printed.visits.size };
}

/** The person, and then the browser that follows the redirect to the program that waits for it. */
async function visit(authorizationUrl, scopes) {
  const answer = await person(authorizationUrl, scopes);
  // A real person is slower: the program may print the URL before it listens.
  let response;
  for (let tries = 1; !response; tries += 1) {
    try {
      response = await fetch(answer, { signal: seconds(20) });
    } catch (error) {
      if (error.cause?.code !== "ECONNREFUSED" || tries === 50) throw new Error(`no answer from ${answer.origin}`, { cause: error });
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  }
  await response.text();
  assert.ok(response.ok, `the client answers its callback with ${response.status}`);
}

async function sdk(name, { Client, StreamableHTTPClientTransport }, finish, stepsUp) {
  const authProvider = new Provider("http://localhost:1/callback");
  let transport;
  const connect = async () => {
    const client = new Client({ name: "interop", version: "1.0.0" });
    transport = new StreamableHTTPClientTransport(new URL(url), { authProvider });
    await client.connect(transport);
    return client;
  };
  const consent = async (scopes) => {
    const callback = (await person(authProvider.asked.at(-1), scopes)).searchParams;
    assert.equal(callback.get("state"), "the state");
    await finish(transport, callback);
  };
  const echo = (client) => client.callTool({ name: "echo", arguments: { message: "hi", repeat_count: 2 } });

  await assert.rejects(connect(), /Unauthorized/);
  assert.equal(authProvider.asked.length, 1);
  await consent(["mcp:read"]);
  let client = await connect();
  assert.equal((await client.listTools()).tools[0].name, "echo");
  console.log(`ok - login, TypeScript SDK ${name}: discovery, registration, consent without mcp:tools, tools/list`);

  await assert.rejects(echo(client));
  if (!stepsUp) {
    // It refreshes instead of asking the person, and gives up when that gives it no more.
    assert.equal(authProvider.asked.length, 1);
    delete authProvider.saved.refresh_token;
    await client.close();
    client = await connect();
    await assert.rejects(echo(client));
  }
  assert.equal(authProvider.asked.length, 2);
  await consent();
  await client.close();
  client = await connect();
  assert.deepEqual((await echo(client)).structuredContent, { text: "hihi" });
  console.log(`ok - login, TypeScript SDK ${name}: steps up when it is refused${stepsUp ? "" : " and has no refresh token"}, and calls`);

  const before = authProvider.saved;
  authProvider.saved = { ...before, access_token: "no-longer-valid" };
  assert.deepEqual((await echo(client)).structuredContent, { text: "hihi" });
  assert.notEqual(authProvider.saved.refresh_token, before.refresh_token);
  assert.equal(authProvider.asked.length, 2);
  await client.close();
  console.log(`ok - login, TypeScript SDK ${name}: refreshes`);
}

async function mcpRemote(home) {
  const port = String(await freePort());
  const session = async (narrow = 0) => {
    const transport = new StdioClientTransport({
      command: process.execPath,
      args: [join(modules, "mcp-remote/dist/proxy.js"), url, port],
      // Nothing in PATH that opens a browser.
      env: { HOME: home, PATH: home, MCP_REMOTE_CONFIG_DIR: join(home, "mcp-auth") },
      stderr: "pipe",
    });
    const printed = new Printed(narrow);
    transport.stderr.on("data", printed.read);
    const client = new Client({ name: "interop", version: "1.0.0" });
    try {
      await client.connect(transport);
      assert.equal((await client.listTools()).tools[0].name, "echo");
      const echo = await client.callTool({ name: "echo", arguments: { message: "hi", repeat_count: 2 } });
      assert.deepEqual(echo.structuredContent, { text: "hihi" });
      await Promise.all(printed.visits.values());
    } catch (error) {
      throw new Error(`mcp-remote: ${error.message}\n${printed.text}`);
    } finally {
      await client.close();
    }
    return printed.visits.size;
  };
  assert.equal(await session(1), 2);
  console.log("ok - login, mcp-remote: discovery, registration, consent without mcp:tools, step-up, tools/list, tools/call");

  const files = readdirSync(home, { recursive: true }).map((file) => join(home, file));
  const file = files.find((file) => file.endsWith("_tokens.json"));
  const before = JSON.parse(readFileSync(file));
  writeFileSync(file, JSON.stringify({ ...before, access_token: "no-longer-valid" }));
  assert.equal(await session(), 0);
  assert.notEqual(JSON.parse(readFileSync(file)).refresh_token, before.refresh_token);
  console.log("ok - login, mcp-remote: remembers its tokens and refreshes");
}

async function inspector(home) {
  const callback = `http://127.0.0.1:${await freePort()}/oauth/callback`;
  const cli = (narrow, ...args) =>
    run(join(modules, "node/bin/node"), [
      join(modules, "@modelcontextprotocol/inspector/clients/launcher/build/index.js"),
      ...["--cli", url, "--transport", "http", "--callback-url", callback, ...args],
    ], { HOME: home, PATH: home, MCP_AUTO_OPEN_ENABLED: "true", MCP_INSPECTOR_SECRET_STORE: "file" }, narrow);
  const call = ["--method", "tools/call", "--tool-name", "echo", "--tool-arg", "message=hi", "repeat_count=2"];
  const first = await cli(1, "--method", "tools/list");
  assert.ok(first.visits === 1 && first.code === 0 && first.text.includes('"get_time"'), JSON.stringify(first));
  console.log("ok - login, MCP Inspector's CLI: discovery, registration, consent without mcp:tools, tools/list");
  // With tokens from an earlier run it refreshes instead of asking, and gives up.
  const refused = await cli(0, ...call);
  assert.ok(refused.visits === 0 && refused.code === 1, JSON.stringify(refused));
  const again = await cli(0, ...call, "--relogin");
  assert.ok(again.visits === 1 && again.code === 0 && again.text.includes("hihi"), JSON.stringify(again));
  const third = await cli(0, ...call);
  assert.ok(third.visits === 0 && third.code === 0 && third.text.includes("hihi"), JSON.stringify(third));
  console.log("ok - login, MCP Inspector's CLI: logs in again with --relogin, calls, remembers its tokens");
}

/** MCP Inspector's page in Chromium: the person unticks a scope, and allows it when a call needs it. */
async function inspectorPage(home) {
  const launcher = join(modules, "@modelcontextprotocol/inspector/clients/launcher/build/index.js");
  const program = spawn(join(modules, "node/bin/node"), [launcher, "--web", "--transport", "http", "--server-url", url], {
    env: { HOME: home, PATH: home, CLIENT_PORT: String(await freePort()), MCP_SANDBOX_PORT: "0", MCP_AUTO_OPEN_ENABLED: "false", MCP_INSPECTOR_SECRET_STORE: "memory" },
    stdio: ["ignore", "pipe", "inherit"],
  });
  let browser;
  try {
    const address = await new Promise((resolve, reject) => {
      let text = "";
      program.stdout.on("data", (chunk) => {
        text += chunk;
        const found = text.match(/(http:\S+MCP_INSPECTOR_API_TOKEN=\S+)\s/);
        if (found) resolve(found[1]);
      });
      program.on("close", () => reject(new Error(`MCP Inspector did not come up: ${text}`)));
    });
    browser = await launchChromium();
    const page = await browser.newPage({ viewport: { width: 1300, height: 900 } });
    page.setDefaultTimeout(60_000);
    // The page would load fonts from elsewhere.
    await page.route((to) => !["localhost", "127.0.0.1"].includes(to.hostname), (route) => route.abort());
    const button = (name) => page.getByRole("button", { name, exact: true });
    const echo = async () => {
      await page.locator("label", { hasText: /^Tools$/ }).click();
      await page.getByText("echo", { exact: true }).first().click();
      await page.getByLabel(/^message/).first().fill("a message from the page");
      await button("Execute Tool").click();
    };

    await page.goto(address);
    // The switch cannot be seen, only its label, and the page may draw both anew at any time: a click at a place may miss it.
    await page.getByRole("switch", { name: /^Connect/ }).dispatchEvent("click");
    await page.getByLabel("Username").fill("alice");
    await page.getByLabel("Password").fill(password);
    await button("Log in").click();
    await page.getByRole("checkbox", { name: "mcp:tools" }).uncheck();
    await button("Allow").click();
    await page.getByText("Authentication succeeded.").waitFor();
    console.log("ok - login, MCP Inspector's page: discovery, registration, consent without mcp:tools");

    await echo();
    await page.getByText("Additional permissions required").waitFor();
    await button("Authorize").click();
    await button("Allow").click();
    await page.getByText("Step-up authorization succeeded.").waitFor();
    await echo();
    await page.getByText("Structured Output").waitFor();
    await page.getByText("a message from the page", { exact: true }).first().waitFor();
    console.log("ok - login, MCP Inspector's page: steps up when it is refused, and calls");
  } finally {
    await browser?.close();
    program.kill();
  }
}

async function conformance(home, clientId, resource, port) {
  const suite = join(modules, "@modelcontextprotocol/conformance/dist/index.js");
  const args = ["--url", url, "--client-id", clientId, "--resource", resource, "-p", port, "-o", home];
  const { code, text } = await run(join(modules, "node/bin/node"), [suite, "authorization", ...args]);
  const passed = text.match(/^✓ \S+: [1-9]/gm) ?? [];
  if (code !== 0 || passed.length < 2 || /^✗/m.test(text)) {
    const files = readdirSync(home, { recursive: true }).filter((file) => file.endsWith("checks.json"));
    throw new Error([text, ...files.map((file) => readFileSync(join(home, file), "utf8"))].join("\n"));
  }
  console.log(`ok - login, conformance suite, authorization: ${passed.length} scenarios pass`);
}

const home = mkdtempSync(join(tmpdir(), "login-"));
try {
  if (what === "sdk") {
    await sdk("v1", { Client, StreamableHTTPClientTransport }, (transport, callback) => transport.finishAuth(callback.get("code")), false);
    await sdk("v2", v2, (transport, callback) => transport.finishAuth(callback), true);
  } else if (what === "mcp-remote") {
    await mcpRemote(home);
  } else if (what === "inspector") {
    await inspector(home);
  } else if (what === "inspector-page") {
    await inspectorPage(home);
  } else if (what === "conformance") {
    await conformance(home, ...rest);
  } else {
    assert.equal(what, "person");
    console.log((await person(url, rest.length ? rest : undefined)).href);
  }
} finally {
  rmSync(home, { recursive: true, force: true });
}
