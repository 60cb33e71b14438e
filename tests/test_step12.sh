#!/usr/bin/env bash
# Does step 12 say whether it is alive and whether it can serve, and is it still step 9 with its own authorization server?
set -u
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/lib.sh"

lesson_12() {
    get /health
    json '/health says that it is alive' 200 '.status == "ok" and .step == 12 and (.issuers | length) > 0'
    get /ready
    json '/ready says that it can serve' 200 '.status == "ok" and ([.issuers[].state == "ready"] | all)'
    tool save_note '{"text":"kept"}'
    json 'a note is saved' 200 '.result.structuredContent.text == "kept"'
    tool list_notes
    json 'and is there' 200 '[.result.structuredContent.notes[].text] | index("kept") != null'
    [ -z "$SERVER" ] || stops
}

# Ends the server: what it judges comes last.
stops() {
    local outcome=1
    kill "$SERVER" && wait "$SERVER"
    verdict 'it stops when it is told to' $? ''
    start_server "${URL##*:}"
    tool list_notes
    json 'the note is there after a restart' 200 '[.result.structuredContent.notes[].text] | index("kept") != null'
    "$BINARY" --port 0 --database 'postgres://mcp:hunter2@localhost:1/mcp' >"$TMP/away" 2>&1
    if [ $? = 1 ] && grep -q 'postgres://localhost:1/mcp: nobody answers' "$TMP/away" && ! grep -q hunter2 "$TMP/away"; then
        outcome=0
    fi
    verdict 'a database that nobody serves is said, without its password' $outcome "$(cat "$TMP/away")"
}

start 12 "$@"
judge
finish
