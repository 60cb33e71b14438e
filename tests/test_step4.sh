#!/usr/bin/env bash
# Do the tools of step 4 run, and are its prompts filled in?
set -u
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/lib.sh"

start 4 "$@"
check_health
check_rpc
check_lists
check_calls
tool echo '{"message":7}'
json 'an argument of the wrong type is a result that says so' 200 '.result.isError == true'
rpc prompts/get '{"name":"greeting"}'
json 'greeting without a name is an error' 200 '.error.code == -32602'
finish
