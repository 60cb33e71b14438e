// Step 11, and a person at Chromium who opens what it asks for:
//   node client.mjs STEP11 step9 URL   (alice's password in MCP_DEV_PASSWORD)
//   node client.mjs STEP11 keycloak URL ISSUER   (step 10's; the people are those of keycloak/mcp-realm.json)
//   node client.mjs STEP11 sdk         (starts the official TypeScript SDK's example server, with its demo authorization server)
// OUTDIR gets screenshots of the last page. CHROMIUM names another browser than /usr/bin/chromium.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { launchChromium } from "./parts.mjs";
import { freePort } from "./port.mjs";

const [step11, what, url, issuer] = process.argv.slice(2);
const { MCP_DEV_PASSWORD: password, OUTDIR: outdir = tmpdir() } = process.env;
const folder = mkdtempSync(join(tmpdir(), "step11-"));
mkdirSync(outdir, { recursive: true });

const browser = await launchChromium();
const page = await (await browser.newContext()).newPage();
page.setDefaultTimeout(60_000);
const complaints = [];
page.on("console", (message) => ["error", "warning"].includes(message.type()) && complaints.push(message.text()));

/** Runs step 11; `person` is at the browser when it asks for one. */
async function run(server, args, person = () => assert.fail("there should be no log-in")) {
  const env = { ...process.env, MCP_CREDENTIALS: join(folder, "credentials") };
  const child = spawn(step11, ["--server", server, "--no-browser", "--login-timeout", "120", ...args], { env, stdio: ["ignore", "pipe", "pipe"] });
  let [stdout, stderr, visits] = ["", "", undefined];
  child.stdout.on("data", (chunk) => (stdout += chunk));
  child.stderr.on("data", (chunk) => {
    stderr += chunk;
    const there = stderr.match(/^ {2}(http\S+)\n/m)?.[1];
    if (there) visits ??= page.goto(there).then(person);
  });
  const code = await new Promise((resolve) => child.on("close", resolve));
  await visits;
  return { code, stdout, stderr };
}

/** The last page, in all its looks. */
async function lastPage(title) {
  await page.getByRole("heading", { name: title, exact: true }).waitFor();
  for (const [kind, colorScheme, width] of [["light", "light", 800], ["dark", "dark", 800], ["phone", "light", 360]]) {
    await page.emulateMedia({ colorScheme });
    await page.setViewportSize({ width, height: 480 });
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "the page is too wide");
    await page.screenshot({ path: `${outdir}/step11-${title.replaceAll(" ", "-")}-${kind}.png` });
  }
}

async function atStep9() {
  const logIn = async () => {
    await page.getByLabel("Username").fill("alice");
    await page.getByLabel("Password").fill(password);
    await page.keyboard.press("Enter");
  };
  const decide = (name) => page.getByRole("button", { name }).click();
  let outcome = await run(url, ["call", "echo", "message=hi"], async () => {
    await logIn();
    await page.getByRole("heading", { name: "Allow access?" }).waitFor();
    await decide("Deny");
    await lastPage("You are not logged in");
  });
  assert.equal(outcome.code, 4, outcome.stderr);
  assert.match(outcome.stderr, /access_denied/);
  console.log("ok - Deny: the page and the terminal say so");

  outcome = await run(url, ["call", "whoami"], async () => {
    await decide("Allow");
    await lastPage("You are logged in");
  });
  assert.equal(outcome.code, 0, outcome.stderr);
  assert.equal(JSON.parse(outcome.stdout).username, "alice");
  console.log("ok - Allow: the page says that all went well, and whoami knows alice");

  outcome = await run(url, ["call", "echo", "message=hi", "repeat_count=2"]);
  assert.deepEqual([outcome.code, outcome.stdout], [0, "hihi\n"], outcome.stderr);
  console.log("ok - the next call needs nobody");
}

async function atKeycloak() {
  page.setDefaultTimeout(60_000);
  let outcome = await run(url, ["call", "whoami"], async () => {
    await page.getByLabel("Username or email").fill("alice");
    await page.getByLabel("Password", { exact: true }).fill("alice123");
    await page.getByRole("button", { name: "Sign In" }).click();
    await page.getByRole("heading", { name: /^Grant Access to/ }).waitFor();
    await page.getByRole("button", { name: "Yes" }).click();
    await lastPage("You are logged in");
  });
  assert.equal(outcome.code, 0, outcome.stderr);
  const me = JSON.parse(outcome.stdout);
  assert.deepEqual([me.username, me.iss], ["alice", issuer]);
  console.log("ok - Keycloak: registered, logged in, and whoami knows alice");

  outcome = await run(url, ["--json", "status"]);
  const [before] = JSON.parse(outcome.stdout);
  assert.deepEqual([before.issuer, before.renewable], [issuer, true]);
  // As if five minutes had passed: Keycloak's refresh tokens work once.
  for (let times = 0; times < 2; times += 1) {
    const [file] = readdirSync(join(folder, "credentials")).filter((name) => name.endsWith(".json"));
    const path = join(folder, "credentials", file);
    const kept = JSON.parse(readFileSync(path));
    const old = kept.grant.refresh_token;
    kept.grant.expires_at = "2020-01-01T00:00:00Z";
    writeFileSync(path, JSON.stringify(kept));
    outcome = await run(url, ["call", "echo", "message=hi"]);
    assert.deepEqual([outcome.code, outcome.stdout], [0, "hi\n"], outcome.stderr);
    assert.notEqual(JSON.parse(readFileSync(path)).grant.refresh_token, old);
  }
  console.log("ok - Keycloak: the token is renewed, and the refresh token with it, twice");

  outcome = await run(url, ["logout"]);
  assert.deepEqual([outcome.code, outcome.stderr], [0, ""]);
  console.log("ok - Keycloak: logged out, the tokens withdrawn");
}

/** The SDK's own example, strict about `resource`. It answers every log-in itself. */
async function atTheSdksExample() {
  const [port, authPort] = [await freePort(), await freePort()];
  const example = "node_modules/@modelcontextprotocol/sdk/dist/esm/examples/server/simpleStreamableHttp.js";
  const env = { ...process.env, MCP_PORT: port, MCP_AUTH_PORT: authPort };
  const server = spawn(process.execPath, [example, "--oauth", "--oauth-strict"], { env, stdio: ["ignore", "pipe", "pipe"] });
  try {
    let said = "";
    await new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`the example does not start: ${said}`)), 20_000);
      const read = (chunk) => {
        said += chunk;
        if ([port, authPort].every((one) => said.includes(`listening on port ${one}`))) {
          clearTimeout(timer);
          resolve();
        }
      };
      server.stdout.on("data", read);
      server.stderr.on("data", read);
      server.on("close", () => reject(new Error(said)));
    });
    const address = `http://localhost:${port}/mcp`;
    let outcome = await run(address, ["call", "greet", "name=Ada"], () => lastPage("You are logged in"));
    assert.deepEqual([outcome.code, outcome.stdout], [0, "Hello, Ada!\n"], outcome.stderr);
    console.log("ok - the official SDK's example server: logged in, and greeted");
    outcome = await run(address, ["--json", "status"]);
    const [status] = JSON.parse(outcome.stdout);
    assert.equal(status.issuer, `http://localhost:${authPort}/`);
    assert.deepEqual(status.scope, ["mcp:tools"]);
    outcome = await run(address, ["prompt", "greeting-template", "name=Ada"]);
    assert.equal(outcome.code, 0, outcome.stderr);
    assert.match(outcome.stdout, /Ada/);
    console.log("ok - the next command needs nobody");
  } finally {
    server.kill();
  }
}

try {
  await { step9: atStep9, sdk: atTheSdksExample, keycloak: atKeycloak }[what]();
  // Keycloak's own pages are not ours to mend.
  if (what !== "keycloak") assert.deepEqual(complaints, [], "Chromium complains");
} catch (error) {
  console.error(`FAIL - at ${page.url()}\n${await page.locator("body").innerText().catch(() => "")}\n${complaints.join("\n")}`);
  throw error;
} finally {
  await browser.close();
  rmSync(folder, { recursive: true });
}
