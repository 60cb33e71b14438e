#!/usr/bin/env bash
# Does a client get from the address of an MCP server to an answer, and does it keep its secrets?
set -u
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/lib.sh"

usage() {
    cat <<END
Usage: tests/test_step11.sh [--client PROGRAM]

Builds and starts step 9 on a free port and checks what step 11 does there, with curl in the place of a person at a
browser. Exits 0 if all checks passed, 1 if one failed, 2 if the arguments are wrong. Needs bash and curl.

  --client PROGRAM   judge another client, which takes the same arguments
  --help             this text
END
}

CLIENT=''
while [ $# -gt 0 ]; do
    case $1 in
    --help | -h) usage && exit 0 ;;
    --client) [ -x "${2:-}" ] || die '--client needs a program' 2; CLIENT=$(realpath "$2") && shift 2 ;;
    *) die "what is $1? Try --help." 2 ;;
    esac
done
prepare
unset SSH_CONNECTION
[ -n "$CLIENT" ] || CLIENT=$(build step11) || exit 1
STEP=9 LESSON=11
export MCP_DEV_PASSWORD=$PASSWORD MCP_CREDENTIALS=$TMP/credentials
start_server

CODE='' OUT='' ERR='' VISITS=0

# client ARGUMENTS…: leaves CODE, OUT, ERR, and in VISITS how often it sent the person to the browser.
client() {
    local there visited='' pid
    VISITS=0 LAST_PAGE=''
    : >"$TMP/err" # the program may take a moment to replace what the one before wrote
    "$CLIENT" --server "$URL/mcp" --no-browser --login-timeout 20 "$@" >"$TMP/out" 2>"$TMP/err" </dev/null &
    pid=$!
    while kill -0 "$pid" 2>/dev/null; do
        there=$(sed -n 's/^  \(http.*\)$/\1/p' "$TMP/err" | tail -1)
        if [ -n "$there" ] && [ "$there" != "$visited" ]; then
            visited=$there VISITS=$((VISITS + 1))
            person "$there"
        fi
        sleep 0.05
    done
    wait "$pid"
    CODE=$? OUT=$(cat "$TMP/out") ERR=$(cat "$TMP/err")
}

# ends NAME CODE VISITS: the client ended like that.
ends() {
    local outcome=1
    if [ "$CODE" = "$2" ] && [ "$VISITS" = "$3" ]; then outcome=0; fi
    verdict "$1" $outcome "expected $2 and $3 log-ins, got $CODE and $VISITS: $OUT $ERR"
}

# says NAME TEXT: somewhere in what it printed.
says() {
    local outcome=1
    if [[ "$OUT$ERR" == *"$2"* ]]; then outcome=0; fi
    verdict "$1" $outcome "expected $2, got $OUT $ERR"
}

client status
ends 'nobody is logged in: 4' 4 0
client call echo message=hi repeat_count=3
ends 'a call logs a person in' 0 1
says 'and answers' hihihi
outcome=1
if [[ $LAST_PAGE == *'All went well'* ]]; then outcome=0; fi
verdict 'the last page says that all went well' $outcome "$LAST_PAGE"
client tools
ends 'the next command needs nobody' 0 0
says 'tools are listed with their arguments' 'message (string, required)'
client --json call whoami
ends 'whoami answers' 0 0
who=$("$JQ" -r '.structuredContent.username' <<<"$OUT" 2>/dev/null)
outcome=1
if [ "$who" = alice ]; then outcome=0; fi
verdict 'it is alice, in JSON' $outcome "$OUT"
client call echo
ends 'an argument that is missing: 2' 2 0
client call echo message=hi repeat_count=99
ends 'a tool that fails: 5' 5 0
client prompt greeting style=formal
ends 'a prompt needs one scope more, for which the person is asked' 0 1
says 'and is filled in' alice
client --protocol-version 2025-11-25 call echo message=legacy-era
ends 'a legacy session works, too' 0 0
says 'and answers' legacy-era
client trace echo message=hi
says 'a trace numbers the exchanges' '1. '
secrets=$(cat "$TMP"/credentials/*.json | "$JQ" -r '.grant | .access_token, .refresh_token' 2>/dev/null)
outcome=0
while read -r secret; do
    if [ -z "$secret" ] || [[ "$OUT$ERR" == *"$secret"* ]]; then outcome=1; fi
done <<<"$secrets"
verdict 'and tells no token' $outcome 'a token is in the trace, or none is kept'
kept=$(find "$TMP/credentials" -type f 2>/dev/null)
open=$(find "$TMP/credentials" -type f ! -perm 600 2>/dev/null)
outcome=1
if [ -n "$kept" ] && [ -z "$open" ]; then outcome=0; fi
verdict 'what is kept is for its owner alone' $outcome "kept: $kept, for others: $open"
ALLOW='mcp:read' client login
ends 'log in with fewer scopes' 0 1
client call echo message=hi
ends 'a tool that needs more asks the person' 0 1
client logout
ends 'log out' 0 0
client status
ends 'and nobody is logged in' 4 0
URL_BEFORE=$URL URL=http://localhost:1
client tools
ends 'a server that is not there: 3' 3 0
URL=$URL_BEFORE
finish
