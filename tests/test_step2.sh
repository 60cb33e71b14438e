#!/usr/bin/env bash
# Does step 2 speak JSON-RPC, in both eras of MCP?
set -u
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/lib.sh"

start 2 "$@"
check_health
check_guards
check_rpc
modern ping
json '2026-07-28 has no ping' 404 '.error.code == -32601'
rpc ping '{}' -H 'MCP-Protocol-Version: 1999-01-01'
json 'a version that is not served is refused' 400 '.error | .code == -32022 and (.data.supported | length > 0)'
get /mcp
header 'GET /mcp is not allowed' 405 allow '^POST$'
post '{}' -H 'Content-Type: text/plain'
status 'a body that is not announced as JSON is refused' 415
finish
