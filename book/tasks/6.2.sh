# 6.2: a token is valid for at most 24 hours.
TOKEN=$(token alice mcp:read --expires-in 24h)
rpc ping
json 'a token for 24 hours is good' 200 'has("result")'
TOKEN=$(token alice mcp:read --expires-in 25h)
rpc ping
refusal 'a token for 25 hours is refused' 401 null '.error == "invalid_token"'
