# 9.4: forget_user deletes somebody's notes, and is for admins.
ALICE='{"iss":"'"$URL"'","sub":"user_alice"}'
TOKEN=$(token alice mcp:tools)
tool save_note '{"text":"to be forgotten"}'
rpc tools/list
json 'alice is not shown forget_user' 200 '[.result.tools[].name] | index("whoami") != null and index("forget_user") == null'
tool forget_user "$ALICE"
no_header 'alice may not call it, whatever the scope' 403 www-authenticate insufficient_scope
tool list_notes
json 'her notes are still there' 200 '.result.structuredContent.notes | length > 0'
TOKEN=$(token admin mcp:read)
rpc tools/list
json 'an admin is shown it, and that it deletes' 200 '.result.tools[] | select(.name == "forget_user") | .annotations.destructiveHint == true'
tool forget_user "$ALICE"
header 'an admin whose client lacks the scope may not call it' 403 www-authenticate '[ ,]scope="mcp:tools"'
TOKEN=$(token admin mcp:tools)
tool forget_user "$ALICE"
json 'an admin deletes her notes' 200 '.result.structuredContent.deleted > 0'
tool forget_user "$ALICE"
json 'then there are none left' 200 '.result.structuredContent.deleted == 0'
TOKEN=$(token alice mcp:tools)
tool list_notes
json 'alice has no notes any more' 200 '.result.structuredContent.notes == []'
