#!/bin/sh
# Writes base.lock, dev.lock and fuzz.lock anew: exact versions and the hashes of every published wheel, no index address.
set -eu
cd "$(dirname "$0")"
python=../.venv/bin/python
"$python" -m piptools --version >/dev/null 2>&1 || "$python" -m pip install --quiet pip-tools
for name in base dev fuzz; do
    CUSTOM_COMPILE_COMMAND="make lock" "$python" -m piptools compile --quiet --upgrade --generate-hashes --allow-unsafe \
        --strip-extras --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options \
        --output-file "$name.lock" "$name.in"
    if grep -nE '^ *(--(index|extra-index|find-links|trusted)|.*(file:|https?:))' "$name.lock"; then
        echo "requirements/$name.lock names an index: not fit to be committed" >&2
        exit 1
    fi
done
