// MCPJam's OAuth conformance, as the README of @mcpjam/sdk says: node mcpjam.mjs URL. Prints what failed, a line each.
import { OAuthConformanceTest } from "@mcpjam/sdk";

const test = new OAuthConformanceTest({
  serverUrl: process.argv[2],
  protocolVersion: "2025-11-25",
  registrationStrategy: "dcr",
  auth: { mode: "headless" },
  oauthConformanceChecks: true,
  verification: { listTools: true },
  stepTimeout: 10_000,
});
const { steps, verification, summary } = await test.run();
const failed = steps.filter(({ status }) => status === "failed").map(({ step, error }) => `${step}: ${error?.message}`);
if (verification?.listTools?.status === "failed") failed.push(`list tools: ${verification.listTools.error?.message}`);
console.log(JSON.stringify({ summary, steps: steps.length, failed }));
process.exit(0); // it leaves timers behind
