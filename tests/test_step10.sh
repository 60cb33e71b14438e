#!/usr/bin/env bash
# Does step 10 trust an issuer that it knows by its URL only, and is it still step 9 without one?
set -u
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/lib.sh"

lesson_10() {
    get /health
    json '/health says how the issuers are' 200 '.issuers | length > 0 and ([.[].state == "ready"] | all)'

    tool whoami
    json 'whoami says who calls' 200 '.result.structuredContent | .sub == "user_alice" and .roles == ["user"]'
    TOKEN=''
    rpc tools/list
    header 'a refusal has an id' 401 x-correlation-id '^[0-9a-f-]{36}$'
    json 'the body has the same id, and a reason' 401 '.error.data | .correlation_id == "'"$(header_value x-correlation-id)"'" and .reason == "token_missing"'
    TOKEN=$(token alice mcp:tools --audience http://elsewhere.example/mcp)
    rpc tools/list
    json 'a reason says which check failed' 401 '.error.data.reason == "audience_other"'
    TOKEN=$(token guest mcp:tools)
    tool echo '{"message":"hi"}'
    json 'a guest is told that it is the role' 403 '.error.data.reason == "roles_missing"'
    [ -z "$SERVER" ] || beside_its_issuer
}

# A second server, which trusts the first as its provider.
trust() { launch second --port 0 --issuer "$1" --database "$TMP/second.db"; }

# Ends the first server, so it comes last.
beside_its_issuer() {
    ISSUER=$URL
    trust "$ISSUER"
    get /health
    json 'it has the keys of its issuer' 200 '.issuers["'"$ISSUER"'"] | .state == "ready" and .keys == 1'
    get /.well-known/oauth-protected-resource/mcp
    json 'its document names the issuer' 200 '.authorization_servers == ["'"$ISSUER"'"]'
    get /.well-known/oauth-authorization-server
    status 'it is no authorization server itself' 404
    TOKEN=$(token alice mcp:tools --issuer "$ISSUER")
    tool whoami
    json 'a token of the issuer opens it' 200 '.result.structuredContent.iss == "'"$ISSUER"'"'
    TOKEN=$(token alice mcp:tools)
    tool whoami
    json 'a token of another issuer does not' 401 '.error.data.reason == "issuer_unknown"'
    TOKEN=$(token alice mcp:tools --issuer "$ISSUER" --audience "$ISSUER/mcp")
    tool whoami
    json 'a token for the issuer itself does not' 401 '.error.data.reason == "audience_other"'
    TOKEN=$(token alice mcp:tools --issuer "$ISSUER" --roles '')
    tool whoami
    json 'a person without a role is a guest' 403 '.error.data.reason == "roles_missing"'

    "$BINARY" doctor --issuer "$ISSUER" >"$TMP/doctor" 2>&1
    verdict 'doctor finds the issuer well' $? "$(cat "$TMP/doctor")"
    local outcome=1
    "$BINARY" doctor --issuer http://localhost:1 >"$TMP/doctor" 2>&1
    if [ $? = 1 ] && grep -q '✗' "$TMP/doctor"; then outcome=0; fi
    verdict 'doctor says when nobody is there' $outcome "$(cat "$TMP/doctor")"

    TOKEN=$(token alice mcp:tools --issuer "$ISSUER")
    kill "$SERVER" && wait "$SERVER"
    tool whoami
    status 'while the issuer is down, its known keys are good' 200
    kill "$LAUNCHED" && wait "$LAUNCHED"
    trust "$ISSUER"
    TOKEN=''
    tool whoami
    header 'without any keys, it says when to come again' 503 retry-after '^[0-9]+$'
    get /health
    json '/health says why, with a status that probes see' 503 '.status == "unavailable" and (.issuers["'"$ISSUER"'"].problem | length > 0)'
}

start 10 "$@"
judge
finish
