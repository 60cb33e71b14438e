# shellcheck shell=bash
# What each lesson of the book promises: a function a lesson. Later steps keep what earlier ones promise, so the same
# functions judge them. A lesson's checks need nothing from later lessons of its step, so it can be judged before those.

# A server that answers
lesson_1_1() {
    get /health
    json '/health says that the server is up' 200 '.status == "ok" and (.version | type) == "string"'
    get /nowhere
    json 'an unknown path is a 404 in JSON' 404 '.error | type == "string"'
}

# Who may ask: Origin and Host
lesson_1_2() {
    get /health -H 'Origin: http://evil.example'
    json 'a foreign Origin is refused' 403 '.error | type == "string"'
    get /health -H 'Host: evil.example'
    json 'a foreign Host is refused' 403 '.error | type == "string"'
    get /mcp -H 'Origin: http://evil.example'
    refusal 'on /mcp, people read why' 403 null '.error | type == "string"'
    get /health -H 'Origin: http://localhost:5173'
    status 'a page of this computer may ask' 200
}

# One JSON-RPC message
lesson_2_1() {
    post '{"jsonrpc":'
    json 'what is not JSON is a parse error' 400 '.error.code == -32700'
    post '[{"jsonrpc":"2.0","id":1,"method":"ping"}]'
    json 'a batch is an invalid request' 400 '.error.code == -32600'
    post '{"jsonrpc":"1.0","id":1,"method":"ping"}'
    json 'JSON-RPC 1.0 is an invalid request' 400 '.error.code == -32600'
    post '{"jsonrpc":"2.0","id":null,"method":"ping"}'
    json 'an id that is null is an invalid request' 400 '.error.code == -32600'
    post '{"jsonrpc":"2.0","method":"notifications/initialized"}'
    status 'a notification is accepted' 202
    get /mcp
    header 'GET /mcp is not allowed' 405 allow '^POST$'
    post '{}' -H 'Content-Type: text/plain'
    status 'a body that is not announced as JSON is refused' 415
}

# A table of methods
lesson_2_2() {
    rpc no/such/method
    json 'an unknown method is not found' 200 '.id == 1 and .error.code == -32601'
    rpc no/such/method null
    json 'params that are null count as absent' 200 '.error.code == -32601'
}

# Agreeing on a version
lesson_2_3() {
    initialize
    json 'initialize agrees on 2025-11-25' 200 '.jsonrpc == "2.0" and .id == 1 and .result.protocolVersion == "2025-11-25"'
    rpc initialize '{"protocolVersion":"1999-01-01","capabilities":{},"clientInfo":{"name":"test","version":"0"}}'
    json 'initialize offers its newest version instead of an unknown one' 200 '.result.protocolVersion == "2025-11-25"'
    rpc ping
    json 'ping is answered' 200 '.id == 1 and has("result")'
}

# Tools, described
lesson_3_1() {
    initialize
    json 'initialize announces tools and prompts' 200 '.result.capabilities | has("tools") and has("prompts")'
    rpc tools/list
    json 'tools/list has echo and get_time' 200 '[.result.tools[].name] | index("echo") != null and index("get_time") != null'
    json 'every tool has a schema' 200 '[.result.tools[] | .inputSchema.type == "object" and .outputSchema.type == "object"] | length > 1 and all'
}

# Prompts, described
lesson_3_2() {
    rpc prompts/list
    json 'prompts/list has greeting and help' 200 '[.result.prompts[].name] | index("greeting") != null and index("help") != null'
    json 'every prompt says what its arguments are' 200 '[.result.prompts[].arguments[] | has("name") and has("description")] | length > 1 and all'
}

# A tool runs
lesson_4_1() {
    tool echo '{"message":"hi","repeat_count":3}'
    json 'echo repeats the message' 200 '.result.content[0].text == "hihihi"'
    tool get_time '{"timezone":"Asia/Tokyo"}'
    json 'get_time tells the time in Tokyo' 200 '.result.content[0].text | test("^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+[+]09:00$")'
    tool echo '{"message":"hi","repeat_count":11}'
    json 'an argument out of range is a result that says so' 200 '.result.isError == true and (.result.content[0].text | length > 0)'
    tool get_time '{"timezone":"Nowhere/Atlantis"}'
    json 'an unknown time zone is a result that says so' 200 '.result.isError == true'
    tool echo '{"message":5}'
    json 'a message that is a number is a result that names it' 200 '.result.isError == true and (.result.content[0].text | test("message") and (test("line [0-9]") | not))'
    tool echo '{"message":"'"$(printf '%06554d' 0)"'","repeat_count":10}'
    json 'echo says at most 64 KiB' 200 '.result.isError == true'
    tool echo '["hi"]'
    json 'arguments in an array are an error' 200 '.error.code == -32602'
    tool get_time null
    json 'arguments that are null count as absent' 200 '.result.content[0].text | test("^[0-9]{4}-")'
    tool no_such_tool
    json 'an unknown tool is an error' 200 '.error.code == -32602'
}

# A prompt is filled in
lesson_4_2() {
    rpc prompts/get '{"name":"greeting","arguments":{"name":"Ada","style":"formal"}}'
    json 'prompts/get greets Ada' 200 '.result.messages[0].content.text | test("Ada")'
    rpc prompts/get '{"name":"greeting","arguments":{"name":"Ada","style":"rude"}}'
    json 'an unknown style is an error' 200 '.error.code == -32602'
    if [ "$STEP" -lt 9 ]; then
        rpc prompts/get '{"name":"greeting"}'
        json 'greeting without a name is an error' 200 '.error.code == -32602'
    fi
    rpc prompts/get '{"name":"no_such_prompt"}'
    json 'an unknown prompt is an error' 200 '.error.code == -32602'
}

# The second era of the protocol. Its file is there from step 2 on.
lesson_4_3() {
    modern server/discover
    json 'server/discover serves 2026-07-28' 200 '.result | .resultType == "complete" and (.supportedVersions | index("2026-07-28")) != null'
    modern ping
    json '2026-07-28 has no ping' 404 '.error.code == -32601'
    rpc ping '{"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"t1"}}}' -H 'MCP-Protocol-Version: 2025-11-25'
    json 'a key of 2025-11-25 in _meta does not make a request modern' 200 '.id == 1 and has("result")'
    rpc ping '{}' -H 'MCP-Protocol-Version: 1999-01-01'
    json 'a version that is not served is refused' 400 '.error | .code == -32022 and (.data.supported | length > 0)'
    rpc server/discover "{\"_meta\":{$META}}" -H 'MCP-Protocol-Version: 2026-07-28' -H 'Mcp-Method: tools/list'
    json 'a header that says something else than the body is refused' 400 '.error.code == -32020'
    [ "$STEP" -ge 3 ] || return 0
    modern tools/list
    json 'a 2026-07-28 list says how long it may be kept' 200 '.result | .resultType == "complete" and (.ttlMs | type) == "number" and has("cacheScope")'
    [ "$STEP" -ge 4 ] || return 0
    modern tools/call '{"name":"echo","arguments":{"message":"hi"}}'
    json 'echo answers a 2026-07-28 request' 200 '.result | .content[0].text == "hi" and .resultType == "complete"'
    rpc tools/call "{\"name\":\"echo\",\"arguments\":{\"message\":\"hi\"},\"_meta\":{$META}}" \
        -H 'MCP-Protocol-Version: 2026-07-28' -H 'Mcp-Method: tools/call' -H 'Mcp-Name: =?base64?ZWNobw==?='
    json 'a name may be written in base64' 200 '.result.content[0].text == "hi"'
}

# A public key as a JWK
lesson_5_1() {
    get /.well-known/jwks.json
    json 'the key set has one RSA key for RS256 signatures' 200 \
        '.keys | length == 1 and (.[0] | .kty == "RSA" and .alg == "RS256" and .use == "sig")'
    json 'the key has kid, n and e' 200 '.keys[0] | (.kid | length > 0) and (.n | length >= 342) and (.e | length > 0)'
    json 'the key has no private parts' 200 '.keys[0] | [has("d", "p", "q", "dp", "dq", "qi")] | any | not'
}

# A JWT has three parts
lesson_5_2() {
    local kid token signed_by outcome=1
    get /.well-known/jwks.json
    kid=$("$JQ" -r '.keys[0].kid // ""' <<<"$BODY" 2>/dev/null)
    token=$(token alice mcp:read,mcp:tools)
    signed_by=$(token_part 0 "$token" | "$JQ" -r .kid)
    if [ -n "$kid" ] && [ "$kid" = "$signed_by" ]; then outcome=0; fi
    verdict 'gen-token signs with the published key' $outcome "the key set has \"$kid\", the token \"$signed_by\""
    token_part 0 "$token" | holds '.alg == "RS256" and .typ == "at+jwt"'
    verdict 'the token is an RS256 access token' $? "$(token_part 0 "$token")"
    token_part 1 "$token" | holds '.iss == "'"$URL"'" and .aud == "'"$URL"'/mcp" and .sub == "user_alice"
        and .scope == "mcp:read mcp:tools" and .roles == ["user"] and .exp > .iat'
    verdict 'the claims say who, for whom and what for' $? "$(token_part 1 "$token")"
}

# Where a token may be
lesson_6_1() {
    local good=$TOKEN
    TOKEN=''
    rpc tools/list
    header 'no token: 401 and a challenge' 401 www-authenticate '^Bearer'
    no_header 'no token: no error in the challenge' 401 www-authenticate '(^|[ ,])error='
    refusal 'no token: people read why' 401 null '.error | type == "string"'
    rpc tools/list '{}' -H 'Authorization: Basic YWxpY2U6c2VjcmV0'
    header 'another scheme: a challenge' 401 www-authenticate '^Bearer'
    no_header 'another scheme: a challenge without an error' 401 www-authenticate '(^|[ ,])error='
    rpc tools/list '{}' -H 'Authorization: Bearer '
    json 'nothing after Bearer is an invalid request' 400 '.error == "invalid_request"'
    rpc tools/list '{}' -H 'Authorization: bEARER '
    json 'the scheme is case-insensitive' 400 '.error == "invalid_request"'
    rpc tools/list '{}' -H "Authorization: Bearer $good" -H "Authorization: Bearer $good"
    status 'two Authorization headers are an invalid request' 400
    ask "$URL/mcp?access_token=$good" -X POST -H 'Content-Type: application/json' -d '{}'
    status 'a token in the query string does not count' 401
}

# What makes a token good
lesson_6_2() {
    local good=$TOKEN signature outcome=1
    TOKEN=$(token alice mcp:read,mcp:tools --expires-in -5m)
    rpc tools/list
    header 'an expired token is invalid' 401 www-authenticate 'error="invalid_token".*expired'
    refusal 'an expired token: people read why' 401 null '.error == "invalid_token"'
    signature=${good##*.}
    if [ "${signature:0:1}" = A ]; then signature=B${signature:1}; else signature=A${signature:1}; fi
    TOKEN=${good%.*}.$signature
    rpc tools/list
    header 'a tampered token is invalid' 401 www-authenticate 'error="invalid_token"'
    TOKEN=$(printf '{"alg":"none","typ":"at+jwt"}' | base64 | tr -d '\n=').$(cut -d. -f2 <<<"$good").
    rpc tools/list
    header 'a token without a signature (alg: none) is invalid' 401 www-authenticate 'error="invalid_token"'
    TOKEN=$(token alice mcp:read,mcp:tools --audience http://elsewhere.example/mcp)
    rpc tools/list
    header 'a token for another audience is invalid' 401 www-authenticate 'error="invalid_token"'
    TOKEN=$(token alice mcp:read,mcp:tools --issuer http://elsewhere.example)
    rpc tools/list
    header 'a token of another issuer is invalid' 401 www-authenticate 'error="invalid_token"'
    TOKEN=$good
    rpc tools/list
    if [ "$STATUS" != 000 ] && [ -z "$(header_value www-authenticate)" ]; then outcome=0; fi
    verdict 'a good token is not refused' $outcome "$(answer)"
}

# The middleware and the caller
lesson_6_3() {
    rpc tools/list
    status 'a good token gets in' 200
    TOKEN='' rpc tools/list '{}' -H "Authorization: bEARER $TOKEN"
    status 'also if the scheme is in other letters' 200
    TOKEN='' get /mcp
    status 'GET /mcp without a token is a 401 too' 401
    TOKEN='' get /health
    status '/health is public' 200
}

# The resource's metadata
lesson_7_1() {
    local path
    TOKEN=''
    for path in /.well-known/oauth-protected-resource/mcp /.well-known/oauth-protected-resource; do
        get "$path"
        json "$path names resource and authorization server" 200 '.resource == "'"$URL"'/mcp"
            and (.authorization_servers | length > 0) and .bearer_methods_supported == ["header"]
            and (.scopes_supported | index("mcp:read") != null and index("mcp:tools") != null)'
    done
    ask "$("$JQ" -r '.resource_documentation // ""' <<<"$BODY" 2>/dev/null)"
    status 'its documentation is there' 200
    rpc tools/list
    header 'a challenge names the metadata' 401 www-authenticate "resource_metadata=\"$URL/.well-known/oauth-protected-resource(/mcp)?\""
}

# The authorization server's metadata
lesson_7_2() {
    local endpoint
    get /.well-known/oauth-authorization-server
    json 'the authorization server names itself as issuer' 200 '.issuer == "'"$URL"'" and (.jwks_uri | length > 0)'
    for endpoint in $("$JQ" -r 'to_entries[] | select(.key | test("_endpoint$|^jwks_uri$")) | .value' <<<"$BODY" 2>/dev/null); do
        TOKEN='' ask "$endpoint"
        case $STATUS in
        404 | 5* | 000) verdict "$endpoint is there" 1 "$(answer)" ;;
        *) verdict "$endpoint is there" 0 '' ;;
        esac
    done
    get /health
    json '/health names the metadata' 200 '.oauth | has("protected_resource") and has("authorization_server") and has("jwks")'
    initialize
    json 'initialize names the metadata' 200 '.result._meta["io.github.mcp-auth-steps/oauth"].resource == "'"$URL"'/mcp"'
}

# Scopes and roles
lesson_8_1() {
    local good=$TOKEN
    TOKEN=$(token alice mcp:read)
    tool echo '{"message":"hi"}'
    header 'mcp:read is not enough for tools/call' 403 www-authenticate 'error="insufficient_scope"'
    header 'the challenge asks for mcp:tools' 403 www-authenticate '[ ,]scope="mcp:tools"'
    header 'the challenge names the metadata' 403 www-authenticate 'resource_metadata="http'
    refusal 'the body says the same, with the id of the request' 403 1 '.error == "insufficient_scope"'
    rpc tools/list
    status 'mcp:read is enough for tools/list' 200
    TOKEN=$(token admin mcp:read)
    tool echo '{"message":"hi"}'
    header 'an admin with a narrow token stays narrow' 403 www-authenticate 'scope="mcp:tools"'
    TOKEN=$(token guest mcp:tools)
    tool echo '{"message":"hi"}'
    no_header 'a guest may not call tools, whatever the scope' 403 www-authenticate 'insufficient_scope'
    refusal 'a guest learns why' 403 1 '.error | type == "string" and . != "insufficient_scope"'
    rpc tools/list
    status 'a guest may list tools' 200
    TOKEN=$(token alice '')
    initialize
    status 'initialize needs no scope' 200
    rpc prompts/list
    header 'prompts/list needs a scope' 403 www-authenticate '[ ,]scope="mcp:read"'
    TOKEN=$(token alice mcp:read)
    rpc prompts/get '{"name":"help"}'
    header 'mcp:read is not enough for prompts/get' 403 www-authenticate '[ ,]scope="mcp:prompts"'
    TOKEN=$(token guest mcp:prompts)
    rpc prompts/get '{"name":"help"}'
    status 'mcp:prompts is enough, for a guest too' 200
    rpc prompts/list
    status 'mcp:prompts is enough for prompts/list' 200
    TOKEN=''
    rpc tools/list
    header 'a 401 says which scopes basic use needs, and no more' 401 www-authenticate '[ ,]scope="mcp:read mcp:tools"'
    get /.well-known/oauth-protected-resource/mcp
    json 'so does the metadata' 200 '.scopes_supported == ["mcp:read", "mcp:tools"]'
    TOKEN=$good
    modern tools/list
    json 'a list is for its caller only' 200 '.result.cacheScope == "private"'
}

# as NAME COMMAND…: asks as a user with all scopes, with a token that was never used before (lesson 9.5 remembers those).
as() {
    TOKEN=$(token "$1" mcp:read,mcp:tools,mcp:prompts)
    "${@:2}"
}

# A member of what a tool answered.
member() { "$JQ" -r ".result.structuredContent.$1 // \"\"" <<<"$BODY" 2>/dev/null; }

# Who is calling
lesson_9_1() {
    as alice tool whoami
    json 'whoami says who calls' 200 '.result.structuredContent | .sub == "user_alice" and .username == "alice"
        and .iss == "'"$URL"'" and .roles == ["user"] and (.scopes | sort) == ["mcp:prompts", "mcp:read", "mcp:tools"]'
    json 'a result carries its caller in _meta' 200 '.result._meta["io.github.mcp-auth-steps/user"] | .username == "alice" and .sub == "user_alice"'
    header 'the response says X-MCP-User' 200 x-mcp-user '^alice$'
    header 'the response says X-MCP-Scopes' 200 x-mcp-scopes 'mcp:tools'
    as alice rpc prompts/get '{"name":"greeting"}'
    json 'greeting addresses the caller' 200 '.result.messages[0].content.text | test("alice")'
}

# Data of one person
lesson_9_2() {
    local text="note $$ $RANDOM" id there
    as alice tool save_note '{"text":"'"$text"'"}'
    json 'save_note keeps a note' 200 '.result.structuredContent | .text == "'"$text"'" and has("id") and has("created_at")'
    id=$(member id)
    there='[.result.structuredContent.notes[] | select(.id == "'"$id"'" and .text == "'"$text"'")] | length'
    as alice tool list_notes
    json 'list_notes has it' 200 "$there == 1"
    as bob tool list_notes
    json 'bob does not see it' 200 "$there == 0"
    if [ -n "$SERVER" ]; then
        restart_server
        as alice tool list_notes
        json 'the note survives a kill -9' 200 "$there == 1"
    fi
}

# Tools that use it
lesson_9_3() {
    local id another next
    as alice tool save_note '{"text":"one"}'
    id=$(member id)
    as alice tool save_note '{"text":"another"}'
    another=$(member id)
    as alice tool list_notes '{"limit":1}'
    json 'list_notes has pages' 200 '.result.structuredContent | (.notes | length) == 1 and (.next_cursor | type) == "string"'
    next=$(member next_cursor)
    as alice tool list_notes '{"limit":1,"cursor":"'"$next"'"}'
    json 'a cursor leads to the next page' 200 '.result.structuredContent.notes | length == 1'
    as alice tool list_notes '{"limit":101}'
    json 'a page has at most 100 notes' 200 '.result.isError == true'
    as alice tool list_notes '{"cursor":"nowhere"}'
    json 'a cursor that was never given out is a result that says so' 200 '.result.isError == true'
    as alice tool save_note '{"text":"'"$(printf '%04097d' 0)"'"}'
    json 'a note over 4 KiB is refused' 200 '.result.isError == true'
    as bob tool delete_note '{"id":"'"$id"'"}'
    json 'bob cannot delete a note of alice' 200 '.result | .isError == true or .structuredContent.deleted == false'
    as alice tool delete_note '{"id":"'"$another"'"}'
    as alice tool delete_note '{"id":"'"$id"'"}'
    json 'alice can delete it' 200 '.result.structuredContent.deleted == true'
    as alice tool list_notes
    json 'it is gone' 200 '[.result.structuredContent.notes[] | select(.id == "'"$id"'")] | length == 0'
}

# A tool for admins
lesson_9_4() {
    as alice tool save_note '{"text":"for the admin to count"}'
    as admin tool list_users
    json 'an admin sees who keeps notes' 200 '[.result.structuredContent.users[] | select(.sub == "user_alice" and .notes > 0)] | length == 1'
    as admin rpc tools/list
    json 'an admin is shown list_users' 200 '[.result.tools[].name] | index("list_users") != null'
    as bob tool list_users
    no_header 'bob may not list users, whatever the scope' 403 www-authenticate insufficient_scope
    as bob rpc tools/list
    json 'bob is not shown list_users' 200 '[.result.tools[].name] | index("whoami") != null and index("list_users") == null'
    as guest rpc tools/list
    json 'a guest is shown no tools, as it may call none' 200 '.result.tools == []'
}

# Verify a token once
lesson_9_5() {
    local end=$((SECONDS + 30))
    as alice tool whoami
    tool whoami
    json 'a token is good the second time, too' 200 '.result.structuredContent.sub == "user_alice"'
    TOKEN=${TOKEN%?}
    rpc tools/list
    status 'the same without its last letter is another token' 401
    # Clocks may differ by 30 s, so this token still counts for some seconds.
    TOKEN=$(token alice mcp:read --expires-in -20s)
    rpc tools/list
    status 'a token is good until its time has come' 200
    while [ "$STATUS" = 200 ] && [ $SECONDS -lt $end ]; do sleep 0.2 && rpc tools/list; done
    status 'and is not remembered beyond it' 401
}
