# For the scripts beside this one, which source it after setup.sh: servers that end with the script, and a temporary
# folder.
work=$(mktemp -d)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true; wait; rm -rf "$work"' EXIT

# start PROGRAM [ARGUMENTS]: leaves its URL in $url
start() {
  local program=$1
  shift
  mkdir "$work/$program"
  (cd "$work/$program" && exec "$TEST_PROGRAMS/$program" --port 0 "$@" >out 2>err) &
  pids+=($!)
  for _ in $(seq 150); do
    url=$(sed -n 's/^listening on //p' "$work/$program/out" 2>/dev/null || true)
    [ -z "$url" ] || return 0
    sleep 0.2
  done
  echo "$program did not start:" >&2
  cat "$work/$program/err" >&2
  exit 1
}
