# shellcheck shell=bash
# What the scripts test_step1.sh … test_step9.sh share: starting a server, asking it, judging the answer.
#
# A script calls `start N "$@"`, then asks (`get`, `rpc`, `modern` …) and judges (`status`, `json`,
# `header` …), and ends with `finish`. An answer is in STATUS, HEADERS and BODY; TOKEN is sent when it is set.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
STEP='' URL='' KEYS='' GEN_TOKEN='' SERVER='' TOKEN=''
STATUS='' HEADERS='' BODY='' PASSED=0 FAILED=0
META='"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}'
ACCEPT='Accept: application/json, text/event-stream'

green='' red='' plain=''
if [ -t 1 ]; then green=$'\e[32m' red=$'\e[31m' plain=$'\e[0m'; fi

usage() {
    local keys='' text=''
    if [ "$STEP" -ge 5 ]; then
        keys=' [--keys DIR]'
        text="
  --keys DIR   with --url: the folder with the keys that this server trusts (default: keys/)"
    fi
    cat <<END
Usage: tests/test_step$STEP.sh [--url URL$keys]

Builds and starts step $STEP on a free port and checks what it promises, one line a check.
Exits 0 if all checks passed, 1 if one failed, 2 if the arguments are wrong. Needs bash and curl.

  --url URL    judge the server that is running there instead, such as http://localhost:9000$text
  --help       this text
END
}

# Ends the script, when there is nothing to judge.
die() {
    printf '%s: %s\n' "${0##*/}" "$1" >&2
    exit "${2:-1}"
}

# --- the server ---------------------------------------------------------------------------------

# start N ARGUMENTS…: reads the script's arguments and sees to it that there is a server at URL.
start() {
    STEP=$1
    shift
    while [ $# -gt 0 ]; do
        case $1 in
        --help | -h) usage && exit 0 ;;
        --url) [ -n "${2:-}" ] || die '--url needs a URL' 2; URL=${2%/} && shift 2 ;;
        --keys)
            [ "$STEP" -ge 5 ] || die '--keys is for step 5 and later' 2
            [ -n "${2:-}" ] || die '--keys needs a folder' 2
            KEYS=$2 && shift 2
            ;;
        *) die "what is $1? Try --help." 2 ;;
        esac
    done
    [ -z "$KEYS" ] || [ -n "$URL" ] || die '--keys goes with --url' 2
    local variable
    for variable in "${!MCP_@}"; do unset "$variable"; done

    TMP=$(mktemp -d) || die 'no temporary folder'
    trap stop EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    command -v curl >/dev/null || die 'curl is missing'
    find_jq
    [ "$STEP" -lt 5 ] || GEN_TOKEN=$(build gen-token) || exit 1
    if [ -z "$URL" ]; then
        start_server
    else
        trusted_keys
        curl_ "$URL/health" >/dev/null 2>&1 || die "no server answers at $URL"
    fi
}

# start_server [PORT]
start_server() {
    local binary args=(--port "${1:-0}")
    binary=$(build "step$STEP") || exit 1
    KEYS=$TMP/keys
    [ "$STEP" -lt 5 ] || args+=(--keys "$KEYS")
    : >"$TMP/stdout"
    (cd "$TMP" && exec "$binary" "${args[@]}") >>"$TMP/stdout" 2>"$TMP/stderr" &
    SERVER=$!
    local end=$((SECONDS + 30))
    until URL=$(sed -n 's/^listening on //p' "$TMP/stdout") && [ -n "$URL" ]; do
        kill -0 "$SERVER" 2>/dev/null || die "step $STEP did not start: $(cat "$TMP/stderr")"
        [ $SECONDS -lt $end ] || die "step $STEP does not listen after 30 s: $(cat "$TMP/stderr")"
        sleep 0.05
    done
}

# Kills the server the hard way and starts it again where it was.
restart_server() {
    kill -9 "$SERVER"
    wait "$SERVER" 2>/dev/null
    start_server "${URL##*:}"
}

# The folder whose key signs our tokens. Without a key there, one that the server cannot know.
trusted_keys() {
    [ "$STEP" -ge 5 ] || return 0
    KEYS=${KEYS:-keys}
    if [ ! -f "$KEYS/mcp_private_key.pem" ]; then
        printf 'note: there is no key in %s, so our tokens come from a new one (see --keys)\n' "$KEYS" >&2
        KEYS=$TMP/keys
    fi
}

# Builds a package and says where its program is. Whoever has built them all names their folder in TEST_PROGRAMS.
build() {
    [ -z "${TEST_PROGRAMS:-}" ] || { printf '%s\n' "$TEST_PROGRAMS/$1"; return; }
    (cd "$ROOT" && cargo build --quiet -p "$1" >&2) || die "$1 does not build"
    local target
    target=$(cd "$ROOT" && cargo metadata --no-deps --format-version 1 | "$JQ" -r .target_directory) || die 'no target'
    printf '%s\n' "$target/debug/$1"
}

find_jq() {
    JQ=$(command -v jq || command -v jaq || printf '%s' "$ROOT/target/tools/bin/jaq")
    [ -x "$JQ" ] || cargo install --quiet jaq --root "$ROOT/target/tools" --locked >&2 || die 'jq is missing'
}

stop() {
    if [ -n "$SERVER" ]; then
        kill "$SERVER" 2>/dev/null
        wait "$SERVER" 2>/dev/null
    fi
    rm -rf "$TMP"
}

finish() {
    printf '%d passed, %d failed\n' "$PASSED" "$FAILED"
    [ "$FAILED" -eq 0 ]
    exit
}

# --- asking -------------------------------------------------------------------------------------

curl_() {
    curl -q --silent --show-error --max-time 20 --noproxy 'localhost,127.0.0.1,::1' "$@"
}

# ask URL CURL-ARGUMENTS…
ask() {
    local url=$1 credentials=()
    shift
    [ -z "$TOKEN" ] || credentials=(-H "Authorization: Bearer $TOKEN")
    : >"$TMP/headers" && : >"$TMP/body"
    STATUS=$(curl_ -o "$TMP/body" -D "$TMP/headers" -w '%{http_code}' ${credentials[@]+"${credentials[@]}"} "$@" "$url" 2>"$TMP/curl")
    HEADERS=$(tr -d '\r' <"$TMP/headers")
    BODY=$(tr -d '\0' <"$TMP/body")
}

get() { ask "$URL$1" "${@:2}"; }

# post BODY CURL-ARGUMENTS…: to /mcp.
post() { ask "$URL/mcp" -H 'Content-Type: application/json' -H "$ACCEPT" --data-binary "$1" "${@:2}"; }

# rpc METHOD [PARAMS] CURL-ARGUMENTS…: a request as up to MCP 2025-11-25.
rpc() { post '{"jsonrpc":"2.0","id":1,"method":"'"$1"'","params":'"${2:-"{}"}"'}' "${@:3}"; }

# modern METHOD [PARAMS]: a request as MCP 2026-07-28 wants it.
modern() {
    local params=${2:-"{}"} name=()
    case $1 in
    tools/call | prompts/get) name=(-H "Mcp-Name: $("$JQ" -r .name <<<"$params")") ;;
    esac
    params=$("$JQ" -c ". + {\"_meta\": {$META}}" <<<"$params")
    rpc "$1" "$params" -H 'MCP-Protocol-Version: 2026-07-28' -H "Mcp-Method: $1" ${name[@]+"${name[@]}"}
}

# tool NAME [ARGUMENTS]: calls it.
tool() { rpc tools/call '{"name":"'"$1"'","arguments":'"${2:-"{}"}"'}'; }

initialize() {
    rpc initialize '{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"test","version":"0"}}'
}

# token USERNAME SCOPES GEN-TOKEN-ARGUMENTS…
token() {
    "$GEN_TOKEN" --username "$1" --scopes "$2" --server "$URL" --keys "$KEYS" "${@:3}" ||
        printf 'gen-token failed for %s\n' "$1" >&2
}

# One part of a token (0 the header, 1 the claims) as JSON.
token_part() {
    local parts part
    IFS=. read -ra parts <<<"$2"
    part=$(printf '%s' "${parts[$1]:-}" | tr -- '-_' '+/')
    while [ $((${#part} % 4)) -ne 0 ]; do part+='='; done
    printf '%s' "$part" | base64 -d 2>/dev/null
}

# --- judging ------------------------------------------------------------------------------------

# verdict NAME OUTCOME WHAT-CAME
verdict() {
    if [ "$2" -eq 0 ]; then
        PASSED=$((PASSED + 1))
        printf '%sok%s - %s\n' "$green" "$plain" "$1"
    else
        FAILED=$((FAILED + 1))
        printf '%sFAIL%s - %s (%s)\n' "$red" "$plain" "$1" "$(tr -s ' \n' ' ' <<<"$3" | sed 's/ $//')"
    fi
}

# What came, in short.
answer() { printf 'got %s %s' "$STATUS" "$(head -c 300 <<<"${BODY:-$(cat "$TMP/curl")}")"; }

# status NAME CODE
status() {
    local outcome=1
    if [ "$STATUS" = "$2" ]; then outcome=0; fi
    verdict "$1" $outcome "expected $2, $(answer)"
}

# json NAME CODE FILTER: the answer has this status, and its body is JSON for which the filter is true.
json() {
    local outcome=1
    if [ "$STATUS" = "$2" ] && [ -n "$BODY" ] && "$JQ" -e "$3" >/dev/null 2>&1 <<<"$BODY"; then outcome=0; fi
    verdict "$1" $outcome "expected $2 with $3, $(answer)"
}

# refusal NAME CODE ID FILTER: the answer on /mcp is a JSON-RPC error response with this id, whose code is the status;
# the filter is true of its data.
refusal() {
    json "$1" "$2" '.jsonrpc == "2.0" and has("id") and .id == '"$3"'
        and (.error | .code == '"$2"' and (.message | type == "string" and length > 0) and (.data | '"$4"'))'
}

# The value of a header, by its name in lower case.
header_value() {
    awk -v name="$1" '{ at = index($0, ":") } at && tolower(substr($0, 1, at - 1)) == name {
        value = substr($0, at + 1); sub(/^ +/, "", value); print value }' <<<"$HEADERS"
}

# header NAME CODE HEADER REGEX
header() {
    local outcome=1
    if [ "$STATUS" = "$2" ] && [[ $(header_value "$3") =~ $4 ]]; then outcome=0; fi
    verdict "$1" $outcome "expected $2 and $3 like $4, got $STATUS and \"$(header_value "$3")\""
}

# no_header NAME CODE HEADER REGEX: the header is missing or not like that.
no_header() {
    local outcome=1
    if [ "$STATUS" = "$2" ] && ! [[ $(header_value "$3") =~ $4 ]]; then outcome=0; fi
    verdict "$1" $outcome "expected $2 and $3 not like $4, got $STATUS and \"$(header_value "$3")\""
}

# --- what several steps promise -----------------------------------------------------------------

check_health() {
    get /health
    json '/health says that the server is up' 200 '.status == "ok" and (.version | type) == "string"'
}

check_guards() {
    get /nowhere
    json 'an unknown path is a 404 in JSON' 404 '.error | type == "string"'
    get /health -H 'Origin: http://evil.example'
    json 'a foreign Origin is refused' 403 '.error | type == "string"'
    get /health -H 'Host: evil.example'
    json 'a foreign Host is refused' 403 '.error | type == "string"'
    get /mcp -H 'Origin: http://evil.example'
    refusal 'on /mcp, people read why' 403 null '.error | type == "string"'
}

check_rpc() {
    initialize
    json 'initialize agrees on 2025-11-25' 200 '.jsonrpc == "2.0" and .id == 1 and .result.protocolVersion == "2025-11-25"'
    modern server/discover
    json 'server/discover serves 2026-07-28' 200 '.result | .resultType == "complete" and (.supportedVersions | index("2026-07-28")) != null'
    rpc ping
    json 'ping is answered' 200 '.id == 1 and has("result")'
    rpc ping null
    json 'params that are null count as absent' 200 '.id == 1 and has("result")'
    rpc ping '{"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"t1"}}}' -H 'MCP-Protocol-Version: 2025-11-25'
    json 'a key of 2025-11-25 in _meta does not make a request modern' 200 '.id == 1 and has("result")'
    post '{"jsonrpc":'
    json 'what is not JSON is a parse error' 400 '.error.code == -32700'
    post '[{"jsonrpc":"2.0","id":1,"method":"ping"}]'
    json 'a batch is an invalid request' 400 '.error.code == -32600'
    post '{"jsonrpc":"1.0","id":1,"method":"ping"}'
    json 'JSON-RPC 1.0 is an invalid request' 400 '.error.code == -32600'
    rpc no/such/method
    json 'an unknown method is not found' 200 '.error.code == -32601'
    post '{"jsonrpc":"2.0","method":"notifications/initialized"}'
    status 'a notification is accepted' 202
}

check_lists() {
    initialize
    json 'initialize announces tools and prompts' 200 '.result.capabilities | has("tools") and has("prompts")'
    rpc tools/list
    json 'tools/list has echo and get_time' 200 '[.result.tools[].name] | index("echo") != null and index("get_time") != null'
    json 'every tool has a schema' 200 '[.result.tools[] | .inputSchema.type == "object" and .outputSchema.type == "object"] | length > 1 and all'
    rpc prompts/list
    json 'prompts/list has greeting and help' 200 '[.result.prompts[].name] | index("greeting") != null and index("help") != null'
    modern tools/list
    json 'a 2026-07-28 list says how long it may be kept' 200 '.result | .resultType == "complete" and (.ttlMs | type) == "number" and has("cacheScope")'
}

check_calls() {
    tool echo '{"message":"hi","repeat_count":3}'
    json 'echo repeats the message' 200 '.result.content[0].text == "hihihi"'
    modern tools/call '{"name":"echo","arguments":{"message":"hi"}}'
    json 'echo answers a 2026-07-28 request' 200 '.result | .content[0].text == "hi" and .resultType == "complete"'
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
    rpc prompts/get '{"name":"greeting","arguments":{"name":"Ada","style":"formal"}}'
    json 'prompts/get greets Ada' 200 '.result.messages[0].content.text | test("Ada")'
    rpc prompts/get '{"name":"greeting","arguments":{"name":"Ada","style":"rude"}}'
    json 'an unknown style is an error' 200 '.error.code == -32602'
    rpc prompts/get '{"name":"no_such_prompt"}'
    json 'an unknown prompt is an error' 200 '.error.code == -32602'
}

check_keys() {
    get /.well-known/jwks.json
    json 'the key set has one RSA key for RS256 signatures' 200 \
        '.keys | length == 1 and (.[0] | .kty == "RSA" and .alg == "RS256" and .use == "sig")'
    json 'the key has kid, n and e' 200 '.keys[0] | (.kid | length > 0) and (.n | length >= 342) and (.e | length > 0)'
    json 'the key has no private parts' 200 '.keys[0] | [has("d", "p", "q", "dp", "dq", "qi")] | any | not'
}

check_tokens() {
    local good=$TOKEN signature
    TOKEN=''
    rpc tools/list
    header 'no token: 401 and a challenge' 401 www-authenticate '^Bearer'
    no_header 'no token: no error in the challenge' 401 www-authenticate '(^|[ ,])error='
    refusal 'no token: people read why' 401 null '.error | type == "string"'
    get /mcp
    status 'GET /mcp without a token is a 401 too' 401
    rpc tools/list '{}' -H 'Authorization: Basic YWxpY2U6c2VjcmV0'
    no_header 'another scheme: a challenge without an error' 401 www-authenticate '(^|[ ,])error='
    rpc tools/list '{}' -H 'Authorization: Bearer '
    json 'nothing after Bearer is an invalid request' 400 '.error == "invalid_request"'
    rpc tools/list '{}' -H "Authorization: Bearer $good" -H "Authorization: Bearer $good"
    status 'two Authorization headers are an invalid request' 400
    ask "$URL/mcp?access_token=$good" -X POST -H 'Content-Type: application/json' -d '{}'
    status 'a token in the query string does not count' 401

    TOKEN=$(token alice mcp:read,mcp:tools --expires-in -5m)
    rpc tools/list
    header 'an expired token is invalid' 401 www-authenticate 'error="invalid_token".*expired'
    refusal 'an expired token: people read why' 401 null '.error == "invalid_token"'
    signature=${good##*.}
    if [ "${signature:0:1}" = A ]; then signature=B${signature:1}; else signature=A${signature:1}; fi
    TOKEN=${good%.*}.$signature
    rpc tools/list
    header 'a tampered token is invalid' 401 www-authenticate 'error="invalid_token"'
    TOKEN=$(token alice mcp:read,mcp:tools --audience http://elsewhere.example/mcp)
    rpc tools/list
    header 'a token for another audience is invalid' 401 www-authenticate 'error="invalid_token"'
    TOKEN=$(token alice mcp:read,mcp:tools --issuer http://elsewhere.example)
    rpc tools/list
    header 'a token of another issuer is invalid' 401 www-authenticate 'error="invalid_token"'
    TOKEN=$good
    rpc tools/list
    status 'a good token gets in' 200
    TOKEN=''
    rpc tools/list '{}' -H "Authorization: bEARER $good"
    status 'the scheme is case-insensitive' 200
    get /health
    status '/health is public' 200
    TOKEN=$good
}

check_metadata() {
    local good=$TOKEN path
    TOKEN=''
    for path in /.well-known/oauth-protected-resource/mcp /.well-known/oauth-protected-resource; do
        get "$path"
        json "$path names resource and authorization server" 200 '.resource == "'"$URL"'/mcp"
            and (.authorization_servers | length > 0) and .bearer_methods_supported == ["header"]
            and (.scopes_supported | index("mcp:read") != null and index("mcp:tools") != null)'
    done
    get /.well-known/oauth-authorization-server
    json 'the authorization server names itself as issuer' 200 '.issuer == "'"$URL"'" and (.jwks_uri | length > 0)'
    rpc tools/list
    header 'a challenge names the metadata' 401 www-authenticate "resource_metadata=\"$URL/.well-known/oauth-protected-resource(/mcp)?\""
    get /health
    json '/health names the metadata' 200 '.oauth | has("protected_resource") and has("authorization_server") and has("jwks")'
    TOKEN=$good
    initialize
    json 'initialize names the metadata' 200 '.result._meta["io.github.mcp-auth-steps/oauth"].resource == "'"$URL"'/mcp"'
}

check_permissions() {
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
