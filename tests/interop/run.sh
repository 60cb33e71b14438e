#!/usr/bin/env bash
# Real clients against steps 4, 6 and 9, and the official conformance suite against step 4.
# Needs node with npm, and python3; versions are pinned by package-lock.json and requirements.txt.
set -euo pipefail
cd "$(dirname "$0")"
here=$PWD
root=$here/../..
unset "${!MCP_@}"
. ./setup.sh
: "${TEST_PROGRAMS:?names the folder with the programs of the steps}"

. ./servers.sh

# inspect STEP ARGUMENTS…: what MCP Inspector's CLI makes of the server at $url, all output in $seen
inspect() {
  # A folder of its own: the Inspector keeps tokens in the home folder.
  seen=$(HOME=$work timeout 60 node_modules/node/bin/node node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js \
    --cli "$url/mcp" --transport http "$@" </dev/null 2>&1)
}
expect() { # expect TEXT NAME: $seen has the text
  [[ $seen == *"$1"* ]] || { printf 'FAIL - MCP Inspector: %s\n%s\n' "$2" "$seen" >&2; exit 1; }
  echo "ok - MCP Inspector: $2"
}
inspect_all() { # inspect_all [HEADER]: list, call, get
  local header=(${1:+--header "$1"})
  inspect --method tools/list --strict "${header[@]}" || true
  expect '"get_time"' 'tools/list, whose schemas are portable'
  inspect --method tools/call --tool-name echo --tool-arg message=hi repeat_count=2 "${header[@]}" || true
  expect '"hihi"' 'tools/call'
  inspect --method prompts/get --prompt-name greeting --prompt-args name=Ada "${header[@]}" || true
  expect 'Hi Ada' 'prompts/get'
}

start step4
inspect_all
node typescript.mjs "$url/mcp"
"$target/interop-venv/bin/python" python.py "$url/mcp"
for revision in 2025-11-25 2026-07-28; do
  if node_modules/node/bin/node node_modules/@modelcontextprotocol/conformance/dist/index.js server --url "$url/mcp" \
    --requirements "$revision" --expected-failures "expected-failures-$revision.yml" -o "$work/conformance" >"$work/log" 2>&1; then
    echo "ok - conformance suite, $revision: $(grep -cE '^✓ [^:]+: [1-9]' "$work/log") scenarios pass"
  else
    cat "$work/log" >&2
    echo "FAIL - conformance suite, $revision" >&2
    exit 1
  fi
done

for step in step6 step9; do
  start "$step" --keys "$work/keys"
  token() { "$TEST_PROGRAMS/gen-token" --keys "$work/keys" --server "$url" --username alice "$@"; }
  narrow=()
  [ "$step" = step6 ] || narrow=("$(token --scopes mcp:read)")
  node typescript.mjs "$url/mcp" "$(token)" "${narrow[@]}"
  "$target/interop-venv/bin/python" python.py "$url/mcp" "$(token)" "${narrow[@]}"
  inspect_all "Authorization: Bearer $(token)"
  inspect --method tools/list --stored-auth-only && { echo "FAIL - MCP Inspector got in without a token" >&2; exit 1; }
  expect '"auth_required"' 'turned away without a token'
  if [ "$step" = step9 ]; then
    call=(--method tools/call --tool-name echo --tool-arg message=hi)
    inspect "${call[@]}" --header "Authorization: Bearer ${narrow[0]}" && { echo "FAIL - MCP Inspector called without the scope" >&2; exit 1; }
    expect 'mcp:tools' '403 without the scope, which it names'
  fi
done
