#!/bin/sh
# Exports a recorded session in every format, reads each dataset with its model's own loader, and compares what it
# returns with the recording: run.sh PROGRAM SESSION FOLDER
#
# PROGRAM is dexumi, SESSION has episodes of an emulated or real rig with two hands or one, FOLDER takes the datasets.
# LEROBOT_PYTHON    interpreter with lerobot[dataset]==0.6.1, mcap and mcap-protobuf-support
# PEERS_PYTHON      interpreter with what the other loaders import (see docs/datasets.md)
# DREAMZERO_ROOT, GROOT_ROOT (N1.7), GROOT16_ROOT (N1.6), DREAMDOJO_ROOT   checkouts
# What has no variable is skipped and said to be.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
[ $# -eq 3 ] || { echo "usage: run.sh PROGRAM SESSION FOLDER" >&2; exit 2; }
program=$1 session=$2 folder=$3
mkdir -p "$folder"
failed=0

# dataset FORMAT NAME [OPTION...]: exported anew, and checked by dexumi verify.
dataset() {
    format=$1 name=$2
    shift 2
    rm -rf "${folder:?}/$name"
    # 3: done, but a cell was held over a gap, which the loaders are told.
    "$program" export "$session" --format "$format" --out "$folder/$name" --keep-idle "$@" || [ $? -eq 3 ]
    "$program" verify "$folder/$name"
}

# loader TITLE INTERPRETER SCRIPT ARGUMENT...
loader() {
    title=$1 python=$2
    shift 2
    echo "== $title"
    if "$python" "$@"; then echo "== $title: passed"; else echo "== $title: FAILED"; failed=1; fi
}

skip() { echo "== $1: skipped, $2 is not set"; }

if [ -n "${LEROBOT_PYTHON:-}" ]; then
    dataset lerobot-v3 v3
    loader "lerobot, v3.0" "$LEROBOT_PYTHON" "$here/read_lerobot.py" "$folder/v3" "$session"
    dataset lerobot-v2.1 v21
    loader "lerobot, v2.1" "$LEROBOT_PYTHON" "$here/read_lerobot.py" "$folder/v21" "$session"
else
    skip lerobot LEROBOT_PYTHON
fi
if [ -z "${PEERS_PYTHON:-}" ]; then
    skip "all other loaders" PEERS_PYTHON
    exit $failed
fi
if [ -n "${DREAMZERO_ROOT:-}" ]; then
    dataset dreamzero dreamzero --variant reduced
    for backend in decord torchcodec; do
        loader "DreamZero, $backend" "$PEERS_PYTHON" "$here/read_dreamzero.py" "$folder/dreamzero" "$session" $backend
    done
else
    skip DreamZero DREAMZERO_ROOT
fi
for version in n1.7 n1.6; do
    if [ $version = n1.7 ]; then variable=GROOT_ROOT root=${GROOT_ROOT:-}; else variable=GROOT16_ROOT root=${GROOT16_ROOT:-}; fi
    if [ -n "$root" ]; then
        dataset gr00t "gr00t-$version" --variant $version --image-size 320x240
        GROOT_ROOT=$root loader "GR00T $version" "$PEERS_PYTHON" "$here/read_gr00t.py" "$folder/gr00t-$version" "$session"
    else
        skip "GR00T $version" $variable
    fi
done
if [ -n "${DREAMDOJO_ROOT:-}" ]; then
    dataset dreamdojo cups_g1
    loader "DreamDojo, g1" "$PEERS_PYTHON" "$here/read_dreamdojo.py" "$folder/cups_g1" "$session"
    dataset dreamdojo cups --variant video
    loader "DreamDojo, videos" "$PEERS_PYTHON" "$here/read_dreamdojo.py" "$folder/cups" "$session"
else
    skip DreamDojo DREAMDOJO_ROOT
fi
exit $failed
