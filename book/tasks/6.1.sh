# 6.1: somebody who puts the token into the URL is told where it belongs.
good=$(token alice mcp:read) TOKEN=''
ask "$URL/mcp?access_token=$good" -X POST -H 'Content-Type: application/json' -d '{}'
refusal 'a token in the URL: people read where it belongs' 401 null '.error == "unauthorized"'
json 'the message names header and URL' 401 '.error.message == "Send the token in the Authorization header, not in the URL."'
no_header 'the challenge still has no error' 401 www-authenticate 'error'
ask "$URL/mcp?other=1" -X POST -H 'Content-Type: application/json' -d '{}'
json 'without a token the message is the usual one' 401 '.error.message == "This needs an access token."'
TOKEN=$good
ask "$URL/mcp?access_token=x" -X POST -H 'Content-Type: application/json' -d '{"jsonrpc":"2.0","id":1,"method":"ping"}'
json 'a good header is enough, whatever the URL has' 200 'has("result")'
