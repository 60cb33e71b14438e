# 8.1: roll_dice needs a scope of its own.
TOKEN=$(token alice mcp:tools)
rpc tools/list
json 'roll_dice is listed, so that a client can ask for its scope' 200 '[.result.tools[].name] | index("roll_dice") != null'
tool roll_dice
header 'with mcp:tools alone the challenge names both scopes' 403 www-authenticate '[ ,]scope="mcp:tools mcp:dice", error="insufficient_scope"'
TOKEN=$(token alice mcp:dice)
tool roll_dice
header 'with mcp:dice alone too' 403 www-authenticate '[ ,]scope="mcp:tools mcp:dice"'
TOKEN=$(token alice mcp:tools,mcp:dice)
tool roll_dice
json 'with both the die rolls' 200 '.result.structuredContent.number | . >= 1 and . <= 6 and . == floor'
TOKEN=$(token guest mcp:tools,mcp:dice)
tool roll_dice
no_header 'a guest is not sent for scopes' 403 www-authenticate 'insufficient_scope'
rpc tools/list
json 'and does not see it' 200 '[.result.tools[].name] | index("roll_dice") == null'
