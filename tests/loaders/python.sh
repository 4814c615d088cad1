#!/bin/sh
# Prints the interpreter for the checks beside this: LOADERS_PYTHON, else a virtual environment in .venv that is made on first
# use from requirements.txt (some 6 GB, minutes) with PYTHON (python3), which must be 3.12 or newer.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
if [ -n "${LOADERS_PYTHON:-}" ]; then
    echo "$LOADERS_PYTHON"
    exit
fi
venv=$here/.venv
python=${PYTHON:-python3}
if [ ! -x "$venv/bin/python" ]; then
    if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 12))'; then
        echo "the loaders need Python 3.12 or newer, got $("$python" --version 2>&1);" \
            "set PYTHON to a newer one (Debian 13 ships 3.13)" >&2
        exit 1
    fi
    "$python" -m venv "$venv"
fi
stamp=$venv/installed
if ! cmp -s "$here/requirements.txt" "$stamp"; then
    "$venv/bin/pip" install -r "$here/requirements.txt" >&2
    cp "$here/requirements.txt" "$stamp"
fi
echo "$venv/bin/python"
