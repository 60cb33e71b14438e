// The official TypeScript SDK (v1), stateless and with JSON responses, as its example
// simpleStatelessStreamableHttp does it, behind its own requireBearerAuth, with jose for the token.
import { readFileSync } from 'node:fs';
import { requireBearerAuth } from '@modelcontextprotocol/sdk/server/auth/middleware/bearerAuth.js';
import { InvalidTokenError } from '@modelcontextprotocol/sdk/server/auth/errors.js';
import { createMcpExpressApp } from '@modelcontextprotocol/sdk/server/express.js';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import { importSPKI, jwtVerify } from 'jose';
import * as z from 'zod';

const { BENCH_PUBLIC_KEY, BENCH_ISSUER, BENCH_AUDIENCE } = process.env;
const key = await importSPKI(readFileSync(BENCH_PUBLIC_KEY, 'utf8'), 'RS256');

// Checks what the steps check: RS256, signature, iss, aud, exp.
async function verifyAccessToken(token) {
  try {
    const { payload } = await jwtVerify(token, key, {
      algorithms: ['RS256'],
      issuer: BENCH_ISSUER,
      audience: BENCH_AUDIENCE,
      requiredClaims: ['exp', 'sub'],
    });
    return { token, clientId: payload.client_id, scopes: payload.scope.split(' '), expiresAt: payload.exp };
  } catch (error) {
    throw new InvalidTokenError(error.message);
  }
}

const inputSchema = {
  message: z.string().describe('the text to send back'),
  repeat_count: z.number().int().min(1).max(10).default(1).describe('how many times'),
};
const outputSchema = { text: z.string().describe('the message, repeated') };

// Without sessions the SDK wants a server and a transport for each request.
function newServer() {
  const server = new McpServer({ name: 'bench', version: '1.0.0' });
  server.registerTool(
    'echo',
    { description: 'Sends a message back.', inputSchema, outputSchema },
    async ({ message, repeat_count }) => {
      const text = message.repeat(repeat_count);
      return { content: [{ type: 'text', text }], structuredContent: { text } };
    },
  );
  return server;
}

const app = createMcpExpressApp();
const protect = requireBearerAuth({ verifier: { verifyAccessToken }, requiredScopes: ['mcp:tools'] });
app.post('/mcp', protect, async (req, res) => {
  const server = newServer();
  const transport = new StreamableHTTPServerTransport({ sessionIdGenerator: undefined, enableJsonResponse: true });
  res.on('close', () => {
    transport.close();
    server.close();
  });
  await server.connect(transport);
  await transport.handleRequest(req, res, req.body);
});
const listener = app.listen(0, '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${listener.address().port}`);
});
