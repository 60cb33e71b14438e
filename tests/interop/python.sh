# Installs what real clients in Python need, pinned by requirements.txt, if it is missing.
command -v python3 >/dev/null || { echo "python3 is missing: install Python 3.11" >&2; exit 1; }
target=${CARGO_TARGET_DIR:-$PWD/../../target}
[ -x "$target/interop-venv/bin/python" ] || python3 -m venv "$target/interop-venv"
"$target/interop-venv/bin/pip" install --quiet --disable-pip-version-check -r requirements.txt
