// A server on the official TypeScript SDK, as its documentation has it: createMcpExpressApp, mcpAuthMetadataRouter and
// requireBearerAuth. How a token is verified is left to the author: here with jose, as its own documentation has it.
//   node protected.mjs ISSUER
// For auth-check to judge. Listens on a free port and prints `listening on URL`.
import { createServer } from "node:http";
import { InvalidTokenError } from "@modelcontextprotocol/sdk/server/auth/errors.js";
import { requireBearerAuth } from "@modelcontextprotocol/sdk/server/auth/middleware/bearerAuth.js";
import {
  getOAuthProtectedResourceMetadataUrl,
  mcpAuthMetadataRouter,
} from "@modelcontextprotocol/sdk/server/auth/router.js";
import { createMcpExpressApp } from "@modelcontextprotocol/sdk/server/express.js";
import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js";
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js";
import { createRemoteJWKSet, jwtVerify } from "jose";

const issuer = process.argv[2];
const app = createMcpExpressApp();
const http = createServer(app);
await new Promise((resolve) => http.listen(0, "127.0.0.1", resolve));
const url = new URL(`http://127.0.0.1:${http.address().port}/mcp`);

const oauthMetadata = await (await fetch(`${issuer}/.well-known/oauth-authorization-server`)).json();
app.use(mcpAuthMetadataRouter({ oauthMetadata, resourceServerUrl: url, scopesSupported: ["files:read"] }));

const keys = createRemoteJWKSet(new URL(oauthMetadata.jwks_uri));
async function verifyAccessToken(token) {
  try {
    const { payload } = await jwtVerify(token, keys, { issuer, audience: url.href });
    return { token, clientId: payload.client_id, scopes: (payload.scope ?? "").split(" "), expiresAt: payload.exp };
  } catch (error) {
    throw new InvalidTokenError(error.message);
  }
}
const resourceMetadataUrl = getOAuthProtectedResourceMetadataUrl(url);
const verifier = { verifyAccessToken };
app.use("/mcp", requireBearerAuth({ verifier, requiredScopes: ["files:read"], resourceMetadataUrl }));

app.all("/mcp", async (request, response) => {
  const server = new McpServer({ name: "protected", version: "1.0.0" });
  server.registerTool("greet", { description: "Says hello." }, () => ({ content: [{ type: "text", text: "Hello!" }] }));
  const transport = new StreamableHTTPServerTransport({ sessionIdGenerator: undefined });
  response.on("close", () => server.close());
  await server.connect(transport);
  await transport.handleRequest(request, response, request.body);
});
console.log(`listening on ${url.origin}`);
