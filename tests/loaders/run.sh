#!/bin/sh
# Exports recorded sessions in every format, reads each dataset with its model's own loader, and compares what that returns
# with the recording: run.sh PROGRAM FOLDER [EXO [GLOVES]]
#
# FOLDER takes the datasets. EXO and GLOVES are sessions of an XHand exoskeleton and of two gloves; without them both are
# recorded on emulated rigs into FOLDER (record.sh). README.md says which environment variables name the loaders; one whose
# variable is not set is left out, and said. ONLY="read_gr00t.py read_umi.py" runs these alone.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
[ $# -ge 2 ] && [ $# -le 4 ] || { echo "usage: run.sh PROGRAM FOLDER [EXO [GLOVES]]" >&2; exit 2; }
program=$1 folder=$2
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
python=$(sh "$here/python.sh")
failed=0
. "$here/datasets.sh"
if [ $# -eq 2 ]; then
    sh "$here/record.sh" "$program" "$folder"
    set -- "$1" "$2" "$folder/exo/session" "$folder/gloves/session"
fi
exo=$(cd "$3" && pwd)
gloves=${4:+$(cd "$4" && pwd)}

# Whether the checkout that a variable names is there.
has() {
    eval "root=\${$1:-}"
    [ -n "$root" ] || { echo "== $2: left out, $1 names no checkout"; return 1; }
    [ -d "$root" ] || { echo "== $2: FAILED, $1=$root is no folder"; failed=1; return 1; }
}
wanted() {
    case " ${ONLY:-$1} " in *" $1 "*) ;; *) return 1 ;; esac
}

# lerobot_layouts SESSION KIND: what exoskeletons and gloves have in common.
lerobot_layouts() {
    from=$1 kind=$2
    if wanted read_lerobot.py; then
        dataset "$from" lerobot-v3 "$kind/v3" && check "lerobot, v3.0 ($kind)" read_lerobot.py "$folder/$kind/v3" "$from"
        dataset "$from" lerobot-v2.1 "$kind/v21" && check "lerobot, v2.1 by its converter ($kind)" read_lerobot.py "$folder/$kind/v21" "$from"
    fi
    if wanted read_dreamzero.py && has DREAMZERO_ROOT DreamZero && dataset "$from" dreamzero "$kind/dreamzero" --variant reduced; then
        for backend in decord torchcodec; do
            check "DreamZero, $backend ($kind)" read_dreamzero.py "$folder/$kind/dreamzero" "$from" $backend
        done
    fi
    if wanted read_gr00t.py; then
        for version in n1.7 n1.6; do
            variable=$([ $version = n1.7 ] && echo GROOT_ROOT || echo GROOT16_ROOT)
            if has $variable "GR00T $version" && dataset "$from" gr00t "$kind/gr00t-$version" --variant $version --image-size 320x240; then
                check "GR00T $version ($kind)" read_gr00t.py "$folder/$kind/gr00t-$version" "$from" "$root"
            fi
        done
    fi
    if wanted read_dreamdojo.py && has DREAMDOJO_ROOT DreamDojo; then
        dataset "$from" dreamdojo "$kind/cups_g1" && check "DreamDojo, g1 ($kind)" read_dreamdojo.py "$folder/$kind/cups_g1" "$from"
        dataset "$from" dreamdojo "$kind/dexumi_cups" --variant own &&
            check "DreamDojo, own slots ($kind)" read_dreamdojo.py "$folder/$kind/dexumi_cups" "$from"
        dataset "$from" dreamdojo "$kind/cups" --variant video &&
            check "DreamDojo, videos and latent actions ($kind)" read_dreamdojo.py "$folder/$kind/cups" "$from"
    fi
    if wanted read_dexumi.py && has DEXUMI_ROOT DexUMI && dataset "$from" dexumi-zarr "$kind/zarr"; then
        check "DexUMI ($kind)" read_dexumi.py "$folder/$kind/zarr" "$from"
    fi
    if wanted read_umi.py && has UMI_ROOT UMI && dataset "$from" umi-zarr "$kind/umi"; then
        check "UMI ($kind)" read_umi.py "$folder/$kind/umi" "$from"
    fi
}

"$program" retarget "$exo" >"$folder/retarget.log"
lerobot_layouts "$exo" exo
if wanted read_egoscale.py && has EGOSCALE_ROOT open-egoscale && dataset "$exo" egoscale exo/egoscale --variant robot; then
    for stage in 2 3; do
        check "open-egoscale, stage $stage (exo)" read_egoscale.py "$folder/exo/egoscale" "$exo" $stage
    done
fi
if [ -n "$gloves" ]; then
    "$program" retarget "$gloves" >>"$folder/retarget.log"
    lerobot_layouts "$gloves" gloves
    if wanted read_egoscale.py && has EGOSCALE_ROOT open-egoscale; then
        "$program" retarget "$gloves" --hand sharpa_right >>"$folder/retarget.log"
        dataset "$gloves" egoscale gloves/egoscale --hand sharpa_right && for stage in 1 2; do
            check "open-egoscale, stage $stage (gloves)" read_egoscale.py "$folder/gloves/egoscale" "$gloves" $stage
        done
    fi
    if wanted read_mano.py && has DREAMDOJO_ROOT "DreamDojo, MANO" && dataset "$gloves" dreamdojo-mano gloves/egodex_21; then
        check "DreamDojo, MANO (gloves)" read_mano.py "$folder/gloves/egodex_21" "$gloves" xhand_left xhand_right
    fi
fi
exit $failed
