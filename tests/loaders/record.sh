#!/bin/sh
# Records what the checks read, on emulated rigs: record.sh PROGRAM FOLDER
#
# FOLDER/exo/session: an XHand exoskeleton with a wrist and a head camera, as `dexumi demo` records it, joints calibrated;
# FOLDER/gloves/session: two gloves, cameras on the head and on both wrists. Two episodes of SECONDS_EACH (20) each, images
# of CAMERA_SIZE (640x360), with the emulator's true values beside them. What is there already is kept.
set -eu
[ $# -eq 2 ] || { echo "usage: record.sh PROGRAM FOLDER" >&2; exit 2; }
program=$1 folder=$2 seconds=${SECONDS_EACH:-20} size=${CAMERA_SIZE:-640x360}
mkdir -p "$folder"

# 3: recorded, with the losses that the emulator was asked for.
well() { "$@" || [ $? -eq 3 ]; }

if [ ! -f "$folder/exo/session/episode_0001.mcap" ]; then
    well "$program" demo --out "$folder/exo" --episodes 2 --seconds "$seconds" --image-size 320x240 --camera-size "$size"
fi
gloves=$folder/gloves
if [ ! -f "$gloves/session/episode_0001.mcap" ]; then
    rm -rf "$gloves"
    mkdir -p "$gloves"
    "$program" emulate --preset egoscale --camera-size "$size" --out "$gloves/rig.toml" --truth "$gloves/truth.jsonl" 2>"$gloves/emulator.log" &
    emulator=$!
    trap 'kill -INT $emulator 2>/dev/null || true' EXIT
    waited=0
    until [ -f "$gloves/rig.toml" ]; do
        kill -0 $emulator && [ $waited -lt 60 ] || { cat "$gloves/emulator.log" >&2; exit 1; }
        sleep 1
        waited=$((waited + 1))
    done
    well "$program" record --rig "$gloves/rig.toml" --task "hand over the cup" --episodes 2 --seconds "$seconds" \
        --settle-s 2 --out "$gloves/session"
    kill -INT $emulator
    wait $emulator || true
    trap - EXIT
fi
