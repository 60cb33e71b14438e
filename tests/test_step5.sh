#!/usr/bin/env bash
# Does step 5 publish its key, and does gen-token sign with it?
set -u
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/lib.sh"

start 5 "$@"
check_health
check_keys
kid=$("$JQ" -r '.keys[0].kid' <<<"$BODY" 2>/dev/null)
token=$(token alice mcp:read,mcp:tools)
signed_by=$(token_part 0 "$token" | "$JQ" -r .kid)
outcome=1
if [ -n "$kid" ] && [ "$kid" = "$signed_by" ]; then outcome=0; fi
verdict 'gen-token signs with the published key' $outcome "the key set has \"$kid\", the token \"$signed_by\""
token_part 0 "$token" | "$JQ" -e '.alg == "RS256" and .typ == "at+jwt"' >/dev/null
verdict 'the token is an RS256 access token' $? "$(token_part 0 "$token")"
token_part 1 "$token" | "$JQ" -e '.iss == "'"$URL"'" and .aud == "'"$URL"'/mcp" and .sub == "user_alice"
    and .scope == "mcp:read mcp:tools" and .roles == ["user"] and .exp > .iat' >/dev/null
verdict 'the claims say who, for whom and what for' $? "$(token_part 1 "$token")"
check_rpc
check_lists
check_calls
finish
