#!/bin/sh
# Reads DATASET with the official lerobot package: run.sh DATASET [--backend torchcodec|pyav]
#
# Installs lerobot into a virtual environment beside this script on first use
# (5.4 GB, some minutes). LEROBOT_VENV names another place, PYTHON another
# interpreter. Needs Python 3.12 or newer and ffmpeg; torchcodec also needs
# Python's shared library (Debian: libpython3.13), without it pyav is used.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
venv=${LEROBOT_VENV:-$here/.venv}
python=${PYTHON:-python3}

if [ $# -lt 1 ]; then
    echo "usage: run.sh DATASET [--backend torchcodec|pyav]" >&2
    exit 2
fi
command -v ffmpeg >/dev/null || { echo "ffmpeg is not installed (apt install ffmpeg)" >&2; exit 1; }
if [ ! -x "$venv/bin/python" ]; then
    if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 12))'; then
        echo "lerobot needs Python 3.12 or newer, got $("$python" --version 2>&1);" \
            "set PYTHON to a newer one (Debian 13 ships 3.13)" >&2
        exit 1
    fi
    "$python" -m venv "$venv"
fi
if ! "$venv/bin/python" -c 'import lerobot' 2>/dev/null; then
    "$venv/bin/pip" install "lerobot[dataset]==0.6.1"
fi
exec "$venv/bin/python" "$here/lerobot_v3.py" "$@"
