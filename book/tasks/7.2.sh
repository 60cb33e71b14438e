# 7.2: the handshake says where the authorization server describes itself.
TOKEN=$(token alice mcp:read)
initialize
json 'initialize names the metadata of the authorization server' 200 '.result._meta["io.github.mcp-auth-steps/oauth"].authorization_server_metadata
    == "'"$URL"'/.well-known/oauth-authorization-server"'
modern server/discover
json 'server/discover does too' 200 '.result._meta["io.github.mcp-auth-steps/oauth"] | has("authorization_server_metadata")'
