# 9.2: a note that is there already is not kept twice, and nobody else is concerned.
SAME="the same $RANDOM$RANDOM"
TOKEN=$(token alice mcp:tools)
tool save_note '{"text":"'"$SAME"'"}'
json 'a note is saved' 200 '.result.structuredContent.text == "'"$SAME"'"'
FIRST=$("$JQ" -c '.result.structuredContent.id // 0' <<<"$BODY" 2>/dev/null)
tool save_note '{"text":"'"$SAME"'"}'
json 'saved again, it is the same note' 200 ".result.structuredContent.id == ${FIRST:-0}"
tool list_notes '{"limit":100}'
json 'it is in the list once' 200 '[.result.structuredContent.notes[] | select(.text == "'"$SAME"'")] | length == 1'
TOKEN=$(token bob mcp:tools)
tool save_note '{"text":"'"$SAME"'"}'
json 'another person with the same text gets a note of their own' 200 ".result.structuredContent | .text == \"$SAME\" and .id != ${FIRST:-0}"
