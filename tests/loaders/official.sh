#!/bin/sh
# Exports an emulated session and reads it with the packages that the formats stand on, and compares every image and number with
# the recording: official.sh PROGRAM FOLDER [SESSION]
#
# Needs no checkout of a model. FOLDER takes the datasets; without SESSION, one is recorded (record.sh).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
[ $# -ge 2 ] && [ $# -le 3 ] || { echo "usage: official.sh PROGRAM FOLDER [SESSION]" >&2; exit 2; }
program=$1 folder=$2
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
python=$(sh "$here/python.sh")
failed=0
. "$here/datasets.sh"
if [ $# -eq 2 ]; then
    sh "$here/record.sh" "$program" "$folder"
    set -- "$1" "$2" "$folder/exo/session"
fi
exo=$(cd "$3" && pwd)
"$program" retarget "$exo" >"$folder/retarget.log"
dataset "$exo" lerobot-v3 official/v3 && check "lerobot, v3.0" read_lerobot.py "$folder/official/v3" "$exo"
dataset "$exo" lerobot-v3 official/v3-causal --causal && check "lerobot, v3.0, causal" read_lerobot.py "$folder/official/v3-causal" "$exo" --causal
dataset "$exo" lerobot-v3 official/v3-av1 --codec av1 && check "lerobot, v3.0, AV1" read_lerobot.py "$folder/official/v3-av1" "$exo"
dataset "$exo" lerobot-v2.1 official/v21 && check "lerobot, v2.1 by its converter" read_lerobot.py "$folder/official/v21" "$exo"
for format in dexumi-zarr umi-zarr; do
    dataset "$exo" $format official/$format && check "zarr and imagecodecs, $format" read_stores.py "$folder/official/$format" "$exo"
done
dataset "$exo" egoscale official/egoscale --variant robot && check "h5py, egoscale" read_stores.py "$folder/official/egoscale" "$exo"
exit $failed
