#!/bin/sh
# The formats that are no LeRobot layouts, exported from SESSION (an exoskeleton's) and, where given,
# GLOVES (a session of two gloves), read by the models' own loaders, and compared with the episode model:
#
#   containers.sh SESSION [GLOVES]
#
# DEXUMI is the program; PYTHON an interpreter with what the loaders import (README.md beside this);
# DEXUMI_ROOT, UMI_ROOT, EGOSCALE_ROOT (its egoscale_research) and DREAMDOJO_ROOT name the checkouts.
# A format whose checkout is not named is left out, and said.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
session=$(cd "$1" && pwd)
dexumi=${DEXUMI:-dexumi}
python=${PYTHON:-python3}
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
failed=0

export_to() { # NAME SESSION ARGUMENTS...
    name=$1 from=$2
    shift 2
    code=0
    "$dexumi" export "$from" --out "$made/$name" "$@" 2>"$made/$name.log" || code=$?
    # 3: written, with steps that a gap covers.
    case $code in 0 | 3) ;; *) cat "$made/$name.log"; return 1 ;; esac
}

check() { # FORMAT FPS VARIABLE SCRIPT SESSION ARGUMENTS-OF-EXPORT -- ARGUMENTS-OF-SCRIPT
    format=$1 fps=$2 variable=$3 script=$4 from=$5
    shift 5
    eval "root=\${$variable:-}"
    if [ -z "$root" ]; then
        echo "left out: $format, $variable names no checkout"
        return
    fi
    echo "== $format $*"
    rm -rf "$made/set" "$made/v3"
    exported=
    while [ $# -gt 0 ] && [ "$1" != -- ]; do exported="$exported $1"; shift; done
    [ $# -gt 0 ] && shift
    # shellcheck disable=SC2086 # words without blanks
    if export_to set "$from" --format "$format" --fps "$fps" $exported &&
        export_to v3 "$from" --format lerobot-v3 --fps "$fps" --codec h264 --image-size 64x48 &&
        "$python" "$here/$script" "$made/set" "$from" "$made/v3" "$@"; then
        :
    else
        echo "FAILED: $format"
        failed=1
    fi
}

check dexumi-zarr 15 DEXUMI_ROOT dexumi_zarr.py "$session" --
check umi-zarr 30 UMI_ROOT umi_zarr.py "$session" --
check egoscale 10 EGOSCALE_ROOT egoscale.py "$session" -- --stage 1
check egoscale 10 EGOSCALE_ROOT egoscale.py "$session" -- --stage 2
check egoscale 10 EGOSCALE_ROOT egoscale.py "$session" --variant robot -- --stage 3
if [ $# -gt 1 ]; then
    check dreamdojo-mano 30 DREAMDOJO_ROOT dreamdojo_mano.py "$(cd "$2" && pwd)" --
fi
exit $failed
