// People at Chromium, whom the official TypeScript SDK, v1 and v2, sends to a real Keycloak, knowing only the MCP
// server's URL; and a page in that browser that is itself a client:
//   node keycloak.mjs clients URL ISSUER
//   node keycloak.mjs person AUTHORIZATION_URL USER: prints where the browser is sent in the end
// The passwords are those of keycloak/mcp-realm.json.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import * as v2 from "@modelcontextprotocol/client";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { launchChromium, Provider } from "./parts.mjs";

const [what, url, ...rest] = process.argv.slice(2);
const REDIRECT = "http://localhost:1/callback"; // where nobody listens: we look at where the browser goes
const PEOPLE = { alice: ["user"], bob: ["user"], guest: ["guest"] };

// A page that the browser takes for one at MCP Inspector's address, whatever port it really has.
const INSPECTOR = "http://localhost:6274";
const program = createServer((_, response) => response.setHeader("Content-Type", "text/html").end("<title>A client</title>"));
await new Promise((listening) => program.listen(0, "127.0.0.1", listening));
const browser = await launchChromium(`--host-resolver-rules=MAP localhost:6274 127.0.0.1:${program.address().port}`);

/** A person's browser, with cookies of its own. */
async function openBrowser() {
  const context = await browser.newContext();
  context.setDefaultTimeout(60_000);
  return context.newPage();
}

/** Logs a person in, who allows what is asked for: the parameters that the browser brings back. */
async function person(page, authorizationUrl, user) {
  const back = page.waitForRequest((request) => request.url().startsWith(`${REDIRECT}?`));
  await page.goto(String(authorizationUrl));
  await page.getByLabel("Username or email").fill(user);
  await page.getByLabel("Password", { exact: true }).fill(`${user}123`);
  await page.getByRole("button", { name: "Sign In" }).click();
  await page.getByRole("heading", { name: /^Grant Access to/ }).waitFor();
  const granting = await page.getByRole("list").first().innerText();
  await page.getByRole("button", { name: "Yes" }).click();
  return { address: new URL((await back).url()), granting };
}

async function sdk(name, { Client, StreamableHTTPClientTransport }, finish, issuer) {
  const subjects = new Set();
  for (const [user, roles] of Object.entries(PEOPLE)) {
    const authProvider = new Provider(REDIRECT);
    let transport;
    const connect = async () => {
      const client = new Client({ name: "interop", version: "1.0.0" });
      transport = new StreamableHTTPClientTransport(new URL(url), { authProvider });
      await client.connect(transport);
      return client;
    };
    await assert.rejects(connect(), /Unauthorized/);
    const asked = authProvider.asked[0];
    assert.equal(asked.origin, new URL(issuer).origin);
    assert.equal(asked.searchParams.get("code_challenge_method"), "S256");
    assert.equal(asked.searchParams.get("resource"), url);
    assert.match(authProvider.client.client_id, /^[0-9a-f-]{36}$/); // registered by itself

    const page = await openBrowser();
    const { address, granting } = await person(page, asked, user);
    assert.match(granting, /Call the MCP server's tools/);
    assert.equal(address.searchParams.get("state"), "the state");
    assert.equal(address.searchParams.get("iss"), issuer);
    await finish(transport, address.searchParams);
    await page.context().close();

    const client = await connect();
    const { tools } = await client.listTools();
    // A list has what the person's role may call: for a guest, nothing.
    const names = tools.map(({ name }) => name);
    assert.ok(names.includes("whoami") === roles.includes("user") && !names.includes("list_users"), JSON.stringify(names));
    const whoami = () => client.callTool({ name: "whoami", arguments: {} });
    const subject = () => JSON.parse(Buffer.from(authProvider.saved.access_token.split(".")[1], "base64url")).sub;
    if (roles.includes("user")) {
      const { structuredContent: me } = await whoami();
      assert.equal(me.username, user);
      assert.equal(me.iss, issuer);
      assert.equal(me.client_id, authProvider.client.client_id);
      assert.deepEqual(me.roles, roles);
      assert.equal(me.sub, subject());

      const before = authProvider.saved;
      authProvider.saved = { ...before, access_token: "no-longer-valid" };
      assert.equal((await whoami()).structuredContent.username, user);
      assert.notEqual(authProvider.saved.refresh_token, before.refresh_token);
    } else {
      // Keycloak gives a guest no mcp:tools, and no consent would change that: nobody is asked again.
      await assert.rejects(whoami(), /Your role does not allow this/);
      assert.ok(!authProvider.saved.scope.includes("mcp:tools"), authProvider.saved.scope);
    }
    assert.equal(authProvider.asked.length, 1);
    subjects.add(subject());
    await client.close();
    console.log(`ok - Keycloak, TypeScript SDK ${name}: registration, ${user} at Chromium, ${roles}: ${roles.includes("user") ? "tools, refresh" : "no tools"}`);
  }
  assert.equal(subjects.size, 3);
}

/** A page at another origin does all of it with `fetch`: CORS must allow it. */
async function pageAsClient(issuer) {
  const page = await openBrowser();
  await page.goto(INSPECTOR);
  const found = await page.evaluate(async ({ url, redirect, inspector }) => {
    const json = { "Content-Type": "application/json" };
    const refused = await fetch(url, { method: "POST", headers: json, body: "{}" });
    const document = refused.headers.get("WWW-Authenticate").match(/resource_metadata="([^"]+)"/)[1];
    const issuer = (await (await fetch(document)).json()).authorization_servers[0];
    const { origin: server, pathname } = new URL(issuer);
    const metadata = await (await fetch(`${server}/.well-known/oauth-authorization-server${pathname}`)).json();
    const registered = await fetch(metadata.registration_endpoint, {
      method: "POST", headers: json,
      body: JSON.stringify({ client_name: "page", redirect_uris: [redirect, `${inspector}/oauth/callback`], token_endpoint_auth_method: "none" }),
    });
    return { issuer, metadata, client: await registered.json() };
  }, { url, redirect: REDIRECT, inspector: INSPECTOR });
  assert.equal(found.issuer, issuer);

  // RFC 7636 appendix B.
  const [verifier, challenge] = ["dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"];
  const client_id = found.client.client_id;
  const asked = new URL(found.metadata.authorization_endpoint);
  asked.search = new URLSearchParams({ response_type: "code", client_id, redirect_uri: REDIRECT, scope: "mcp:tools", state: "the state", code_challenge: challenge, code_challenge_method: "S256" });
  const other = await page.context().newPage();
  const code = (await person(other, asked, "bob")).address.searchParams.get("code");
  const form = { grant_type: "authorization_code", client_id, code, redirect_uri: REDIRECT, code_verifier: verifier };
  const answer = await page.evaluate(async ({ url, endpoint, form }) => {
    const token = (await (await fetch(endpoint, { method: "POST", body: new URLSearchParams(form) })).json()).access_token;
    const call = { jsonrpc: "2.0", id: 1, method: "tools/call", params: { name: "whoami", arguments: {} } };
    const headers = { "Content-Type": "application/json", Authorization: `Bearer ${token}` };
    return (await fetch(url, { method: "POST", headers, body: JSON.stringify(call) })).json();
  }, { url, endpoint: found.metadata.token_endpoint, form });
  assert.equal(answer.result.structuredContent.username, "bob");
  await page.context().close();
  console.log("ok - Keycloak, a page as client: discovery, registration, token and call across origins");
}

try {
  if (what === "clients") {
    const [issuer] = rest;
    await sdk("v1", { Client, StreamableHTTPClientTransport }, (transport, answer) => transport.finishAuth(answer.get("code")), issuer);
    await sdk("v2", v2, (transport, answer) => transport.finishAuth(answer), issuer);
    await pageAsClient(issuer);
  } else {
    assert.equal(what, "person");
    console.log((await person(await openBrowser(), url, rest[0])).address.href);
  }
} finally {
  await browser.close();
  program.close();
}
