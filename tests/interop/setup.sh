# For the scripts beside this one, which source it in their own folder: what real clients need, pinned by
# package-lock.json and requirements.txt, is installed where it is missing.
for tool in node npm python3; do
  command -v "$tool" >/dev/null || { echo "$tool is missing: install Node.js 20 and Python 3.11" >&2; exit 1; }
done
target=${CARGO_TARGET_DIR:-$PWD/../../target}
[ node_modules/.package-lock.json -nt package-lock.json ] || npm ci --silent --no-audit --no-fund
[ -x node_modules/node/bin/node ] || (cd node_modules/node && node installArchSpecificPackage)
[ -x "$target/interop-venv/bin/python" ] || python3 -m venv "$target/interop-venv"
"$target/interop-venv/bin/pip" install --quiet --disable-pip-version-check -r requirements.txt
