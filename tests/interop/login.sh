#!/usr/bin/env bash
# Real clients that know only the URL of step 9 log a person in, and the official conformance suite's
# authorization-server command against auth-server. Needs what run.sh needs.
set -euo pipefail
cd "$(dirname "$0")"
root=$PWD/../..
unset "${!MCP_@}"
. ./setup.sh
: "${TEST_PROGRAMS:?names the folder with the programs of the steps}"

. ./servers.sh
password='correct horse battery staple'

MCP_DEV_PASSWORD=$password start step9 --keys "$work/keys"
node login.mjs sdk "$url/mcp" "$password"
"$target/interop-venv/bin/python" login.py "$url/mcp" "$password"
node login.mjs mcp-remote "$url/mcp" "$password"
node login.mjs inspector "$url/mcp" "$password"
export CHROMIUM=${CHROMIUM:-/usr/bin/chromium}
if [ -x "$CHROMIUM" ] || [ -n "${CI+set}" ]; then
  node login.mjs inspector-page "$url/mcp" "$password"
else
  echo "skipped: MCP Inspector's page: needs Chromium"
fi

# The suite's client has no secret: it uses no authentication if a server lists "none".
port=$(node -e 'import("./port.mjs").then(async ({ freePort }) => console.log(await freePort()))')
printf '[{"client_id": "conformance", "redirect_uris": ["http://127.0.0.1:%s/callback"], "token_endpoint_auth_method": "none"}]' "$port" >"$work/clients.json"
resource=http://localhost:9000/mcp
MCP_DEV_PASSWORD=$password start auth-server --keys "$work/keys" --clients "$work/clients.json" --resource "$resource"
node login.mjs conformance "$url" "$password" conformance "$resource" "$port"
