# 9.3: count_notes counts the caller's notes.
COUNT='.result.structuredContent.notes'
TOKEN=$(token bob mcp:tools)
tool count_notes
json 'count_notes says how many notes bob has' 200 "$COUNT | type == \"number\""
BOBS=$("$JQ" "$COUNT // 0" <<<"$BODY" 2>/dev/null)
TOKEN=$(token alice mcp:tools)
tool count_notes
BEFORE=$("$JQ" "$COUNT // 0" <<<"$BODY" 2>/dev/null)
tool save_note '{"text":"to be counted '"$RANDOM$RANDOM"'"}'
tool count_notes
json 'with one note more, alice has one more' 200 "$COUNT == ${BEFORE:-0} + 1"
tool count_notes '{"user":"bob"}'
json 'nobody else can be named' 200 '.result.isError == true'
TOKEN=$(token bob mcp:tools)
tool count_notes
json 'bob has as many as before' 200 "$COUNT == ${BOBS:-0}"
TOKEN=$(token bob mcp:read)
tool count_notes
header 'it needs mcp:tools, as other tools do' 403 www-authenticate '[ ,]scope="mcp:tools"'
