# 7.1: clients may keep the resource's metadata for an hour.
TOKEN='' get /.well-known/oauth-protected-resource/mcp
header 'the document may be kept for an hour' 200 cache-control '(^|[ ,])max-age=3600($|[ ,])'
json 'the document is the same' 200 '.resource == "'"$URL"'/mcp"'
TOKEN='' get /.well-known/oauth-protected-resource
header 'so may the one at the root' 200 cache-control '(^|[ ,])max-age=3600($|[ ,])'
