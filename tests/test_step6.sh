#!/usr/bin/env bash
# Does step 6 let in those with a good token, and nobody else?
set -u
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/lib.sh"

start 6 "$@"
TOKEN=$(token alice mcp:read,mcp:tools)
check_health
check_keys
check_tokens
check_rpc
check_lists
check_calls
finish
