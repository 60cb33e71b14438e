# 2.2: there are no resources, and the server says so.
rpc resources/list
json 'resources/list is an empty list' 200 '.result == {"resources": []}'
modern resources/list
json 'a 2026-07-28 answer may be kept' 200 '.result | .resources == [] and .resultType == "complete" and .ttlMs > 0 and .cacheScope == "public"'
rpc resources/list '{"cursor":"2"}'
json 'there is one page' 200 '.error.code == -32602'
initialize
json 'what is not offered is not announced' 200 '.result.capabilities | has("resources") | not'
