#!/usr/bin/env bash
# Does step 7 tell a client where its tokens come from?
set -u
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/lib.sh"

start 7 "$@"
TOKEN=$(token alice mcp:read,mcp:tools)
check_health
check_metadata
get /.well-known/oauth-authorization-server
for endpoint in $("$JQ" -r 'to_entries[] | select(.key | test("_endpoint$|^jwks_uri$")) | .value' <<<"$BODY" 2>/dev/null); do
    TOKEN='' ask "$endpoint"
    case $STATUS in
    404 | 5* | 000) verdict "$endpoint is there" 1 "$(answer)" ;;
    *) verdict "$endpoint is there" 0 '' ;;
    esac
done
check_keys
check_tokens
check_rpc
check_lists
check_calls
finish
