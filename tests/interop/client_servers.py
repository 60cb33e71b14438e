"""MCP servers built on other people's server classes, with their own authorization server, for step 11 to log in at:

    client_servers.py fastmcp   FastMCP's server and its InMemoryOAuthProvider
    client_servers.py sdk       the official Python SDK's MCPServer and its authorization server routes, as in the SDK's
                                example simple-auth, here with client_secret_basic among the methods

Listens on a free port and prints `listening on URL`. Nobody has to consent: the authorization endpoint redirects at once.
"""

import secrets
import socket
import sys
import time

import uvicorn

SCOPE = "user"


def fastmcp_app(url):
    from fastmcp import FastMCP
    from fastmcp.server.auth.auth import ClientRegistrationOptions, RevocationOptions
    from fastmcp.server.auth.providers.in_memory import InMemoryOAuthProvider

    provider = InMemoryOAuthProvider(
        base_url=url,
        client_registration_options=ClientRegistrationOptions(enabled=True, valid_scopes=[SCOPE], default_scopes=[SCOPE]),
        revocation_options=RevocationOptions(enabled=True),
        required_scopes=[SCOPE],
    )
    server = FastMCP("interop", auth=provider)
    server.tool(greet)
    return server.http_app()


def sdk_app(url):
    from mcp.server.auth.provider import (
        AccessToken,
        AuthorizationCode,
        RefreshToken,
        construct_redirect_uri,
    )
    from mcp.server.auth.settings import AuthSettings, ClientRegistrationOptions, RevocationOptions
    from mcp.server.mcpserver import MCPServer
    from mcp.shared.auth import OAuthToken

    class Provider:
        """Keeps everything in memory, as the example does; every request is consented to."""

        def __init__(self):
            self.clients, self.codes, self.tokens, self.refresh_tokens = {}, {}, {}, {}

        async def get_client(self, client_id):
            return self.clients.get(client_id)

        async def register_client(self, client_info):
            self.clients[client_info.client_id] = client_info

        async def authorize(self, client, params):
            code = secrets.token_hex(32)
            self.codes[code] = AuthorizationCode(
                code=code,
                client_id=client.client_id,
                redirect_uri=params.redirect_uri,
                redirect_uri_provided_explicitly=params.redirect_uri_provided_explicitly,
                expires_at=time.time() + 60,
                scopes=params.scopes or [SCOPE],
                code_challenge=params.code_challenge,
                resource=params.resource,
            )
            return construct_redirect_uri(str(params.redirect_uri), code=code, state=params.state)

        async def load_authorization_code(self, client, code):
            return self.codes.get(code)

        async def exchange_authorization_code(self, client, code):
            del self.codes[code.code]
            return self.issue(client, code.scopes, code.resource)

        async def load_refresh_token(self, client, token):
            return self.refresh_tokens.get(token)

        async def exchange_refresh_token(self, client, token, scopes):
            del self.refresh_tokens[token.token]
            return self.issue(client, scopes, url + "/mcp")

        async def load_access_token(self, token):
            return self.tokens.get(token)

        async def revoke_token(self, token):
            self.tokens.pop(token.token, None)
            self.refresh_tokens.pop(token.token, None)

        def issue(self, client, scopes, resource):
            access, refresh = secrets.token_hex(32), secrets.token_hex(32)
            expires = int(time.time()) + 3600
            self.tokens[access] = AccessToken(
                token=access, client_id=client.client_id, scopes=scopes, expires_at=expires, resource=resource
            )
            self.refresh_tokens[refresh] = RefreshToken(token=refresh, client_id=client.client_id, scopes=scopes)
            return OAuthToken(
                access_token=access, token_type="Bearer", expires_in=3600, refresh_token=refresh, scope=" ".join(scopes)
            )

    server = MCPServer(
        "interop",
        auth_server_provider=Provider(),
        auth=AuthSettings(
            issuer_url=url,
            resource_server_url=url + "/mcp",
            client_registration_options=ClientRegistrationOptions(
                enabled=True, valid_scopes=[SCOPE], default_scopes=[SCOPE]
            ),
            revocation_options=RevocationOptions(enabled=True),
            required_scopes=[SCOPE],
            validate_token_resource=True,
        ),
    )
    server.tool()(greet)
    return server.streamable_http_app()


def greet(name: str) -> str:
    """Says hello."""
    return f"Hello, {name}!"


def main(kind):
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    app = {"fastmcp": fastmcp_app, "sdk": sdk_app}[kind](url)
    listener.listen(16)
    print(f"listening on {url}", flush=True)
    uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])


if __name__ == "__main__":
    main(*sys.argv[1:])
