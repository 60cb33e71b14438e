# 9.5: each answer says whether its token was verified now or remembered.
TOKEN=$(token alice mcp:read)
rpc ping
header 'a new token is verified' 200 server-timing '^auth;desc="verified"$'
rpc ping
header 'the second time it is remembered' 200 server-timing '^auth;desc="remembered"$'
good=$TOKEN TOKEN=${TOKEN%????}AAAA
rpc ping
no_header 'a changed one is not' 401 server-timing 'remembered'
TOKEN=$(token alice mcp:read)
rpc ping
header 'another token of the same person is verified' 200 server-timing 'verified'
TOKEN=$good
rpc ping
header 'the first one is still remembered' 200 server-timing 'remembered'
