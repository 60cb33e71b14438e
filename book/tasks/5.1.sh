# 5.1: the key set has the media type of key sets.
get /.well-known/jwks.json
header 'the key set says that it is one' 200 content-type '^application/jwk-set\+json'
header 'it may still be kept for five minutes' 200 cache-control 'max-age=300'
json 'it still has one key' 200 '.keys | length == 1'
