#!/usr/bin/env bash
# Does step 8 permit what scope and role both allow, and nothing else?
set -u
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/lib.sh"

start 8 "$@"
TOKEN=$(token alice mcp:read,mcp:tools,mcp:prompts)
check_health
check_permissions
check_metadata
check_keys
check_tokens
check_rpc
check_lists
check_calls
finish
