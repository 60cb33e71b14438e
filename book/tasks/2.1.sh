# 2.1: an id is at most 128 bytes long.
post '{"jsonrpc":"2.0","id":"'"$(printf '%0126d' 0)"'","method":"ping"}'
json 'an id of 128 bytes is answered' 200 '(.id | length) == 126 and has("result")'
post '{"jsonrpc":"2.0","id":"'"$(printf '%0127d' 0)"'","method":"ping"}'
json 'an id of 129 bytes is refused, and not repeated' 400 '.error.code == -32600 and (has("id") | not)'
post '{"jsonrpc":"2.0","id":1'"$(printf '%0128d' 0)"',"method":"ping"}'
json 'so is a number of 129 digits' 400 '.error.code == -32600 and (has("id") | not)'
