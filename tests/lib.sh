# shellcheck shell=bash
# What the scripts test_step1.sh … test_step12.sh share: starting a server, asking it, judging the answer.
#
# A script calls `start N "$@"`, `judge` and `finish`: it judges the lessons up to step N. Each lesson is a function (tests/lessons.sh) that
# asks (`get`, `rpc`, `modern` …) and judges (`status`, `json`, `header` …). An answer is in STATUS, HEADERS and BODY;
# TOKEN is sent when it is set.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
SCRIPT="tests/${0##*/}" STEP='' URL='' KEYS='' GEN_TOKEN='' SERVER='' LAUNCHED='' TOKEN='' BINARY='' ONLY='' LESSONS='' LESSON='' AUTH_CHECK='' REPORT=''
STATUS='' HEADERS='' BODY='' PASSED=0 FAILED=0
META='"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}'
ACCEPT='Accept: application/json, text/event-stream'
# Of people on a server that was started with MCP_DEV_PASSWORD; they allow the scopes in ALLOW (empty: all).
PASSWORD='correct horse battery staple' ALLOW='' LAST_PAGE='' LAST_PLACE=''

green='' red='' plain=''
if [ -t 1 ] || [ -n "${CLICOLOR_FORCE:-}" ]; then green=$'\e[32m' red=$'\e[31m' plain=$'\e[0m'; fi

usage() {
    local keys='' text='' report='' lesson
    if [ "$STEP" -ge 5 ]; then
        keys=' [--keys DIR]'
        text="
  --keys DIR       with --url: the folder with the keys that this server trusts (default: keys/)"
    fi
    if [ "$STEP" -ge 6 ]; then
        report=' [--auth-check FILE]'
        text+="
  --auth-check FILE
                   also write what auth-check finds in the server to FILE, as JSON; it registers clients there, and from step 7 on
                   alice logs in if the script has started the server"
    fi
    cat <<END
Usage: $SCRIPT [--only LESSON] [--program FILE | --url URL$keys]$report

Builds and starts step $STEP on a free port and checks what it promises, one line a check.
Exits 0 if all checks passed, 1 if one failed, 2 if the arguments are wrong. Needs bash and curl.

  --only LESSON    judge one lesson, such as $STEP.1, or all those of one step, such as $STEP
  --program FILE   start this program instead
  --url URL        judge the server that is running there instead, such as http://localhost:9000$text
  --help           this text

Lessons, of the book in book/src:
END
    for lesson in $LESSONS; do printf '  %-4s %s\n' "$lesson" "$(title "$lesson")"; done
}

# The title of a lesson.
title() {
    case $1 in
    *.*) awk -F'"' -v id="$1" '/^id = / { found = $2 == id } found && /^title = / { print $2; exit }' "$ROOT/book/lessons.toml" ;;
    *) printf 'Step %s as a whole\n' "$1" ;;
    esac
}

# Ends the script, when there is nothing to judge.
die() {
    printf '%s: %s\n' "${0##*/}" "$1" >&2
    exit "${2:-1}"
}

# --- the server ---------------------------------------------------------------------------------

# The lessons that the step must pass: those up to it, and 4.3, whose file is there from step 2 on.
lessons() {
    declare -F | sed -n 's/^declare -f lesson_//p' | tr _ . | sort -t. -k1,1n -k2,2n |
        awk -F. -v step="$STEP" '$1 <= step || ($0 == "4.3" && step >= 2)' | tr '\n' ' '
}

# start N ARGUMENTS…: reads the script's arguments and sees to it that there is a server at URL.
start() {
    STEP=$1
    shift
    LESSONS=${LESSONS:-$(lessons)}
    while [ $# -gt 0 ]; do
        case $1 in
        --help | -h) usage && exit 0 ;;
        --only) [ -n "${2:-}" ] || die '--only needs a lesson' 2; ONLY=$2 && shift 2 ;;
        --program) [ -x "${2:-}" ] || die '--program needs a program' 2; BINARY=$(realpath "$2") && shift 2 ;;
        --url) [ -n "${2:-}" ] || die '--url needs a URL' 2; URL=${2%/} && shift 2 ;;
        --keys)
            [ "$STEP" -ge 5 ] || die '--keys is for step 5 and later' 2
            [ -n "${2:-}" ] || die '--keys needs a folder' 2
            KEYS=$2 && shift 2
            ;;
        --auth-check)
            [ "$STEP" -ge 6 ] || die '--auth-check is for step 6 and later' 2
            [ -n "${2:-}" ] || die '--auth-check needs a file' 2
            REPORT=$2 && shift 2
            ;;
        *) die "what is $1? Try --help." 2 ;;
        esac
    done
    [ -z "$KEYS" ] || [ -n "$URL" ] || die '--keys goes with --url' 2
    [ -z "$BINARY" ] || [ -z "$URL" ] || die 'either --program or --url' 2
    chosen >/dev/null || die "there is no check of lesson $ONLY here, only of: $LESSONS" 2
    prepare
    [ "$STEP" -lt 5 ] || GEN_TOKEN=$(build gen-token) || exit 1
    [ -z "$REPORT" ] || AUTH_CHECK=$(build auth-check) || exit 1
    if [ -z "$URL" ]; then
        start_server
    else
        trusted_keys
        curl_ "$URL/health" >/dev/null 2>&1 || die "no server answers at $URL"
    fi
}

# What every script needs: an environment and a folder of its own, and the programs that it calls.
prepare() {
    local variable
    for variable in "${!MCP_@}"; do unset "$variable"; done
    TMP=$(mktemp -d) || die 'no temporary folder'
    trap stop EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    command -v curl >/dev/null || die 'curl is missing'
    find_jq
}

# start_server [PORT]
start_server() {
    local args=(--port "${1:-0}")
    [ -n "$BINARY" ] || BINARY=$(build "step$STEP") || exit 1
    KEYS=$TMP/keys
    [ "$STEP" -lt 5 ] || args+=(--keys "$KEYS")
    [ -z "$REPORT" ] || export MCP_DEV_PASSWORD=$PASSWORD
    launch "step$STEP" "${args[@]}"
    SERVER=$LAUNCHED
}

# launch NAME ARGUMENTS…: starts the program and waits until it listens, at URL. NAME: of the files with what it prints.
launch() {
    local output=$TMP/$1.out errors=$TMP/$1.err end=$((SECONDS + 30))
    : >"$output"
    (cd "$TMP" && exec "$BINARY" "${@:2}") >>"$output" 2>"$errors" &
    LAUNCHED=$!
    until URL=$(sed -n 's/^listening on //p' "$output") && [ -n "$URL" ]; do
        kill -0 "$LAUNCHED" 2>/dev/null || die "$1 did not start: $(cat "$errors")"
        [ $SECONDS -lt $end ] || die "$1 does not listen after 30 s: $(cat "$errors")"
        sleep 0.05
    done
}

# Kills the server the hard way and starts it again where it was.
restart_server() {
    kill -9 "$SERVER"
    wait "$SERVER" 2>/dev/null
    start_server "${URL##*:}"
}

# The folder with the key that signs our tokens. If it has no key, a folder with a key that the server cannot know.
trusted_keys() {
    [ "$STEP" -ge 5 ] || return 0
    KEYS=${KEYS:-keys}
    if [ ! -f "$KEYS/mcp_private_key.pem" ]; then
        printf 'note: there is no key in %s, so our tokens come from a new one (see --keys)\n' "$KEYS" >&2
        KEYS=$TMP/keys
    fi
}

# Builds a package and says where its program is. If they are all built already, TEST_PROGRAMS names their folder.
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
    local running
    running=$(jobs -p)
    # shellcheck disable=SC2086 # a word for each process
    [ -z "$running" ] || { kill $running; wait; } 2>/dev/null
    rm -rf "$TMP"
}

finish() {
    printf '%d passed, %d failed\n' "$PASSED" "$FAILED"
    [ -z "$REPORT" ] || auth_check
    [ "$FAILED" -eq 0 ] && [ "$PASSED" -gt 0 ]
    exit
}

# Writes what auth-check finds to REPORT. That it finds something (1) is for the reader of the report to judge.
auth_check() {
    local outcome=0 pid there visited='' login=()
    [ "$STEP" -lt 7 ] || [ -z "$SERVER" ] || login=(--login --paste)
    mkfifo "$TMP/paste" && exec 3<>"$TMP/paste" || die 'no pipe to auth-check'
    "$AUTH_CHECK" "$URL/mcp" --issuer-key "$KEYS/mcp_private_key.pem" --active --quiet --json "$REPORT" \
        ${login[@]+"${login[@]}"} <&3 >/dev/null 2>"$TMP/auth-check" &
    pid=$!
    while kill -0 "$pid" 2>/dev/null; do
        there=$(sed -n 's/^  \(http.*\)$/\1/p' "$TMP/auth-check" | tail -1)
        if [ -n "$there" ] && [ "$there" != "$visited" ]; then
            visited=$there
            person "$there"
            # An empty line says that the server has shown a page and led nowhere.
            [[ $LAST_PLACE != "$URL"* ]] || LAST_PLACE=''
            printf '%s\n' "$LAST_PLACE" >&3
        fi
        sleep 0.05
    done
    wait "$pid" || outcome=$?
    exec 3>&-
    [ $outcome -le 1 ] || die "auth-check cannot judge the server: $(cat "$TMP/auth-check")"
}

# The value of an attribute in the first tag on standard input that is like the pattern.
attribute() { grep -o "<$1[^>]*>" | head -1 | sed -n "s/.* $2=\"\([^\"]*\)\".*/\1/p" | sed 's/&#38;/\&/g; s/&amp;/\&/g; s/&#61;/=/g; s/&#43;/+/g'; }

# browse URL CURL-ARGUMENTS…: leaves LAST_PAGE, and in LAST_PLACE where it was found. Nobody may listen where a client waits.
browse() {
    LAST_PLACE=$(curl_ -L -b "$TMP/cookies" -c "$TMP/cookies" -H "Origin: $URL" -o "$TMP/page" -w '%{url_effective}' \
        "${@:2}" "$1" 2>"$TMP/curl")
    LAST_PAGE=$(cat "$TMP/page")
}

# person URL: alice logs in, and allows the scopes, as a browser would send it.
person() {
    local action csrf scopes=() scope
    : >"$TMP/page"
    browse "$1"
    if [[ $LAST_PAGE == *'name="password"'* ]]; then
        action=$(attribute form action <<<"$LAST_PAGE")
        csrf=$(attribute 'input[^>]*name="csrf"' value <<<"$LAST_PAGE")
        browse "$URL$action" --data-urlencode username=alice --data-urlencode "password=$PASSWORD" \
            --data-urlencode "csrf=$csrf"
    fi
    [[ $LAST_PAGE == *'name="decision"'* ]] || return 0
    action=$(attribute form action <<<"$LAST_PAGE")
    csrf=$(attribute 'input[^>]*name="csrf"' value <<<"$LAST_PAGE")
    for scope in ${ALLOW:-mcp:read mcp:tools mcp:prompts}; do
        [[ $LAST_PAGE != *"value=\"$scope\""* ]] || scopes+=(--data-urlencode "scope=$scope")
    done
    browse "$URL$action" --data-urlencode "csrf=$csrf" --data-urlencode decision=allow ${scopes[@]+"${scopes[@]}"}
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

# --- lessons ------------------------------------------------------------------------------------

# Those of LESSONS that --only names, or all. False if there are none.
chosen() {
    local lesson found=1
    for lesson in $LESSONS; do
        case $lesson in
        "${ONLY:-$lesson}" | "${ONLY:-$lesson}".*) printf '%s ' "$lesson" && found=0 ;;
        esac
    done
    return $found
}

# judge: makes the checks of each chosen lesson. Each begins with a token that may do all that alice may.
judge() {
    local good=''
    [ "$STEP" -lt 6 ] || good=$(token alice mcp:read,mcp:tools,mcp:prompts)
    for LESSON in $(chosen); do
        TOKEN=$good
        "lesson_${LESSON/./_}"
    done
}

# --- judging ------------------------------------------------------------------------------------

# verdict NAME OUTCOME WHAT-CAME
verdict() {
    if [ "$2" -eq 0 ]; then
        PASSED=$((PASSED + 1))
        printf '%sok%s - %s %s\n' "$green" "$plain" "$LESSON" "$1"
    else
        FAILED=$((FAILED + 1))
        printf '%sFAIL%s - %s %s (%s)\n' "$red" "$plain" "$LESSON" "$1" "$(tr -s ' \n' ' ' <<<"$3" | sed 's/ $//')"
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

# holds FILTER: standard input is one JSON text for which the filter is true. By itself, jq also accepts no input at
# all.
holds() { "$JQ" -se "length == 1 and (.[0] | $1)" >/dev/null 2>&1; }

# json NAME CODE FILTER: the answer has this status, and its body is JSON for which the filter is true.
json() {
    local outcome=1
    if [ "$STATUS" = "$2" ] && holds "$3" <<<"$BODY"; then outcome=0; fi
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

# shellcheck source=tests/lessons.sh
. "$ROOT/tests/lessons.sh"
