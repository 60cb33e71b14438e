#!/usr/bin/env bash
# Does step 9 know its users, and keep their notes apart?
set -u
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/lib.sh"

start 9 "$@"
TOKEN=$(token alice mcp:read,mcp:tools,mcp:prompts)
check_health

# As another user, who has the same scopes.
as() { TOKEN=$(token "$1" mcp:read,mcp:tools,mcp:prompts); }

tool whoami
json 'whoami says who calls' 200 '.result.structuredContent | .sub == "user_alice" and .username == "alice"
    and .iss == "'"$URL"'" and .roles == ["user"] and (.scopes | sort) == ["mcp:prompts", "mcp:read", "mcp:tools"]'
json 'a result carries its caller in _meta' 200 '.result._meta["io.github.mcp-auth-steps/user"] | .username == "alice" and .sub == "user_alice"'
header 'the response says X-MCP-User' 200 x-mcp-user '^alice$'
header 'the response says X-MCP-Scopes' 200 x-mcp-scopes 'mcp:tools'
rpc prompts/get '{"name":"greeting"}'
json 'greeting addresses the caller' 200 '.result.messages[0].content.text | test("alice")'

text="note $$ $RANDOM"
tool save_note '{"text":"'"$text"'"}'
json 'save_note keeps a note' 200 '.result.structuredContent | .text == "'"$text"'" and has("id") and has("created_at")'
id=$("$JQ" -c '.result.structuredContent.id // 0' <<<"$BODY" 2>/dev/null)
mine='[.result.structuredContent.notes[] | select(.id == '"${id:-0}"' and .text == "'"$text"'")] | length'
tool list_notes
json 'list_notes has it' 200 "$mine == 1"
as bob
tool list_notes
json 'bob does not see it' 200 "$mine == 0"
tool delete_note '{"id":'"${id:-0}"'}'
json 'bob cannot delete it' 200 '.result | .isError == true or .structuredContent.deleted == false'
tool list_users
no_header 'bob may not list users, whatever the scope' 403 www-authenticate insufficient_scope
rpc tools/list
json 'bob is not shown list_users' 200 '[.result.tools[].name] | index("whoami") != null and index("list_users") == null'
as guest
rpc tools/list
json 'a guest is shown no tools, as it may call none' 200 '.result.tools == []'
as admin
rpc tools/list
json 'an admin is shown list_users' 200 '[.result.tools[].name] | index("list_users") != null'
tool list_users
json 'an admin sees who keeps notes' 200 '[.result.structuredContent.users[] | select(.sub == "user_alice" and .notes > 0)] | length == 1'
as alice
if [ -n "$SERVER" ]; then
    restart_server
    tool list_notes
    json 'the note survives a kill -9' 200 "$mine == 1"
fi
tool list_notes
json 'the note is still there' 200 "$mine == 1"
tool save_note '{"text":"another"}'
another=$("$JQ" -c '.result.structuredContent.id // 0' <<<"$BODY" 2>/dev/null)
tool list_notes '{"limit":1}'
json 'list_notes has pages' 200 '.result.structuredContent | (.notes | length) == 1 and (.next_cursor | type) == "string"'
next=$("$JQ" -c '.result.structuredContent.next_cursor // 0' <<<"$BODY" 2>/dev/null)
tool list_notes '{"limit":1,"cursor":'"${next:-0}"'}'
json 'a cursor leads to the next page' 200 '.result.structuredContent.notes | length == 1'
tool list_notes '{"limit":101}'
json 'a page has at most 100 notes' 200 '.result.isError == true'
tool list_notes '{"cursor":"nowhere"}'
json 'a cursor that was never given out is a result that says so' 200 '.result.isError == true'
tool delete_note '{"id":'"${another:-0}"'}'
tool save_note '{"text":"'"$(printf '%04097d' 0)"'"}'
json 'a note over 4 KiB is refused' 200 '.result.isError == true'
tool delete_note '{"id":'"${id:-0}"'}'
json 'alice can delete it' 200 '.result.structuredContent.deleted == true'
tool list_notes
json 'it is gone' 200 "$mine == 0"

check_permissions
check_metadata
check_keys
check_tokens
check_rpc
check_lists
check_calls
finish
