# 9.1: each answer names the client.
TOKEN=$(token alice mcp:read)
rpc ping
header 'X-MCP-Client is the client_id, percent-encoded' 200 x-mcp-client '^gen%2Dtoken$'
rpc no/such/method
header 'an error names it, too' 200 x-mcp-client '^gen%2Dtoken$'
