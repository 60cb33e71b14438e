// A person at Chromium, sent there by the official TypeScript SDK through its OAuth provider interface:
//   node browser.mjs URL PASSWORD [OUTDIR]
// URL is the MCP server's, with an authorization server that knows alice by PASSWORD. OUTDIR gets the
// screenshots. CHROMIUM names another browser than /usr/bin/chromium.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { createServer } from "node:http";
import { fileURLToPath } from "node:url";
import { auth, extractWWWAuthenticateParams, UnauthorizedError } from "@modelcontextprotocol/sdk/client/auth.js";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { launchChromium } from "./parts.mjs";

const [url, password, outdir = fileURLToPath(new URL("../../target/screenshots", import.meta.url))] =
  process.argv.slice(2);
const issuer = new URL(url).origin;
const quoted = (text) => text.replaceAll("&", "&amp;").replaceAll('"', "&quot;");

// Where the browser comes back to; and, at /frame, a page that puts another into a frame.
const program = createServer((request, response) => {
  const { pathname, searchParams } = new URL(request.url, issuer);
  response.setHeader("Content-Type", "text/html");
  response.end(pathname === "/frame" ? `<iframe src="${quoted(searchParams.get("src"))}"></iframe>` : "Welcome back.");
});
await new Promise((listening) => program.listen(0, "127.0.0.1", listening));
const [localhost, numeric] = ["localhost", "127.0.0.1"].map((host) => `http://${host}:${program.address().port}`);

const browser = await launchChromium();
const context = await browser.newContext();
context.setDefaultTimeout(60_000);
const complaints = []; // violations of the Content-Security-Policy are among them
const hosts = new Set();
context.on("console", (message) => ["error", "warning"].includes(message.type()) && complaints.push(message.text()));
context.on("weberror", (error) => complaints.push(String(error.error())));
context.on("request", (request) => hosts.add(new URL(request.url()).hostname));
const page = await context.newPage();

// What a program brings along for the SDK. `person` is what the person does at the page.
const saved = {};
let person;
const provider = {
  redirectUrl: `${localhost}/callback`,
  clientMetadata: {
    client_name: "Browser test",
    redirect_uris: [`${localhost}/callback`, `${numeric}/callback`],
    grant_types: ["authorization_code", "refresh_token"],
    token_endpoint_auth_method: "none",
  },
  state: () => (saved.state = randomUUID()),
  clientInformation: () => saved.client,
  saveClientInformation: (client) => void (saved.client = client),
  tokens: () => saved.tokens,
  saveTokens: (tokens) => void (saved.tokens = tokens),
  codeVerifier: () => saved.verifier,
  saveCodeVerifier: (verifier) => void (saved.verifier = verifier),
  async redirectToAuthorization(there) {
    await page.goto(there.href);
    await person();
    // The form's answer is this redirect, which the page's form-action must let through.
    await page.waitForURL((at) => at.href.startsWith(`${provider.redirectUrl}?`));
    assert.equal(await page.textContent("body"), "Welcome back.");
    saved.answer = Object.fromEntries(new URL(page.url()).searchParams);
    assert.equal(saved.answer.state, saved.state);
    assert.equal(saved.answer.iss, issuer);
  },
};
const redeem = () => auth(provider, { serverUrl: url, authorizationCode: saved.answer.code });
const granted = () => saved.tokens.scope.split(" ").sort();

let answer; // to the last POST to the MCP server
async function watched(to, init) {
  const response = await fetch(to, init);
  if (String(to) === url && init?.method === "POST") answer = response;
  return response;
}
const transport = () => new StreamableHTTPClientTransport(new URL(url), { authProvider: provider, fetch: watched });

const button = (name) => page.getByRole("button", { name });
const scope = (name) => page.getByRole("checkbox", { name });
const onConsentPage = () => page.getByRole("heading", { name: "Allow access?" }).waitFor();
async function tabTo(element) {
  await page.keyboard.press("Tab");
  assert.ok(await element.evaluate((it) => it === document.activeElement), `Tab did not lead to ${element}`);
}
async function screenshots(name) {
  for (const [kind, colorScheme, width] of [["light", "light", 800], ["dark", "dark", 800], ["phone", "light", 360]]) {
    await page.emulateMedia({ colorScheme });
    await page.setViewportSize({ width, height: 720 });
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${name} is too wide`);
    // `initial`: hiding the caret would need a style that the page's policy forbids.
    await page.screenshot({ path: `${outdir}/${name}-${kind}.png`, fullPage: true, caret: "initial" });
  }
}

// Who asks, where the answer goes and both buttons are in sight without scrolling, on a laptop and on a phone.
async function fitsTheScreen(client) {
  assert.equal(await page.getByRole("checkbox").count(), 3);
  for (const [width, height] of [[1000, 760], [390, 844]]) {
    await page.setViewportSize({ width, height });
    await page.evaluate(() => scrollTo(0, 0));
    const named = page.locator("#client", { hasText: client });
    for (const element of [named, page.locator("#host"), ...(await page.getByRole("checkbox").all()), button("Deny"), button("Allow")]) {
      // A text that goes on in the next line has a rectangle for each.
      const inSight = await element.evaluate((it) => [...it.getClientRects()].every(({ left, top, right, bottom }) =>
        left >= 0 && top >= 0 && right <= innerWidth && bottom <= innerHeight &&
        it.contains(document.elementFromPoint((left + right) / 2, (top + bottom) / 2))));
      assert.ok(inSight, `${width}x${height}: ${element} is out of sight`);
    }
    await page.screenshot({ path: `${outdir}/consent-${width}x${height}.png`, caret: "initial" });
  }
}

try {
  person = async () => {
    await page.getByRole("heading", { name: `Log in to ${new URL(issuer).host}` }).waitFor();
    await screenshots("login");
    await page.getByLabel("Username").fill("alice");
    await page.getByLabel("Password").fill("a mistake");
    await page.keyboard.press("Enter");
    await page.getByText("The name or the password is wrong.").waitFor();
    assert.equal(await page.getByLabel("Username").inputValue(), "alice");
    assert.equal(await page.getByLabel("Password").inputValue(), "");
    await screenshots("login-failed");
    await page.goto(page.url().replace("/login?", "/authorize?"));
    complaints.splice(0); // Chromium complains of the status 401
    await tabTo(page.getByLabel("Username"));
    await page.keyboard.type("alice");
    await tabTo(page.getByLabel("Password"));
    await page.keyboard.type(password);
    await page.keyboard.press("Enter");
    await onConsentPage();
    await screenshots("consent");
    await fitsTheScreen("Browser test");
    await tabTo(scope("mcp:read"));
    await tabTo(scope("mcp:tools"));
    await page.keyboard.press("Space");
    assert.equal(await scope("mcp:tools").isChecked(), false);
    await tabTo(scope("mcp:prompts"));
    await tabTo(button("Deny"));
    await tabTo(button("Allow"));
    await page.keyboard.press("Enter");
  };
  await assert.rejects(new Client({ name: "browser", version: "1.0.0" }).connect(transport()), UnauthorizedError);
  assert.equal(await redeem(), "AUTHORIZED");
  assert.deepEqual(granted(), ["mcp:prompts", "mcp:read"]);
  console.log("ok - alice logs in and consents by keyboard alone, without mcp:tools");

  const client = new Client({ name: "browser", version: "1.0.0" });
  await client.connect(transport());
  assert.ok((await client.listTools()).tools.some((tool) => tool.name === "whoami"));
  assert.equal(answer.status, 200);
  console.log("ok - the tools are listed");

  // The SDK refreshes its token and tries once more, which cannot give it what alice did not.
  const before = saved.tokens.access_token;
  await assert.rejects(client.callTool({ name: "whoami", arguments: {} }), { code: 403 });
  assert.notEqual(saved.tokens.access_token, before);
  assert.equal(answer.status, 403);
  const challenge = extractWWWAuthenticateParams(answer);
  assert.equal(challenge.error, "insufficient_scope");
  assert.equal(challenge.scope, "mcp:tools");
  console.log("ok - whoami is refused: 403 insufficient_scope");

  // This time back to the other name of this computer, without a log-in.
  provider.redirectUrl = `${numeric}/callback`;
  saved.tokens = undefined;
  person = async () => {
    await onConsentPage();
    await page.getByText("You have let it in before.").waitFor();
    assert.equal(await scope("mcp:prompts").count(), 0);
    await button("Allow").click();
  };
  assert.equal(await auth(provider, { serverUrl: url, scope: `mcp:read ${challenge.scope}` }), "REDIRECT");
  assert.equal(await redeem(), "AUTHORIZED");
  assert.deepEqual(granted(), ["mcp:read", "mcp:tools"]);
  const { isError, content } = await client.callTool({ name: "whoami", arguments: {} });
  assert.ok(!isError && answer.status === 200);
  assert.match(content[0].text, /alice/);
  await client.close();
  console.log("ok - after a second consent, without a password, whoami answers");

  saved.tokens = undefined;
  person = () => button("Deny").click();
  assert.equal(await auth(provider, { serverUrl: url }), "REDIRECT");
  assert.equal(saved.answer.error, "access_denied");
  assert.equal(saved.answer.code, undefined);
  console.log("ok - Deny: access_denied");

  const cookies = await context.cookies(issuer);
  assert.equal(cookies.length, 3); // of the log-in form, of the session, and of the browser that alice uses
  assert.ok(cookies.every((cookie) => cookie.httpOnly && cookie.sameSite === "Lax"));
  assert.deepEqual(complaints, []);
  console.log("ok - Chromium has nothing to complain of, and no script could read the cookies");

  // In a frame on the same site, which is where the browser would send the cookies.
  person = async () => {
    const consent = page.url();
    await onConsentPage();
    const framed = page.waitForResponse(consent);
    await page.goto(`${localhost}/frame?${new URLSearchParams({ src: consent })}`);
    assert.equal((await framed).status(), 200);
    assert.equal(await page.frameLocator("iframe").getByRole("heading", { name: "Allow access?" }).count(), 0);
    assert.equal(page.frames()[1].url(), "chrome-error://chromewebdata/");
    assert.match(complaints.join(), /frame-ancestors 'none'/);
    await page.goto(`${provider.redirectUrl}?${new URLSearchParams({ state: saved.state, iss: issuer })}`);
  };
  await auth(provider, { serverUrl: url });
  console.log("ok - the consent page cannot be framed");

  assert.deepEqual([...hosts].filter((host) => !["localhost", "127.0.0.1"].includes(host)), []);
} catch (error) {
  console.error(`FAIL - at ${page.url()}\n${await page.locator("body").innerText()}\n${complaints.join("\n")}`);
  throw error;
} finally {
  await browser.close();
  program.close();
}
