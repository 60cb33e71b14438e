# 6.3: a second route behind the same middleware.
TOKEN=$(token alice mcp:read)
get /me
json '/me says who is calling' 200 '. == {"sub": "user_alice", "username": "alice"}'
TOKEN=''
get /me
header 'without a token there is a challenge' 401 www-authenticate '^Bearer'
TOKEN=$(token alice mcp:read --expires-in -5m)
get /me
header 'an expired token is refused' 401 www-authenticate 'error="invalid_token"'
