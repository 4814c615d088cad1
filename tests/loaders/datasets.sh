# Shared by run.sh and official.sh, which set program, folder and failed.

# dataset SESSION FORMAT NAME [OPTION...]: exported anew, and checked by dexumi verify.
dataset() {
    session=$1 format=$2 name=$3
    shift 3
    rm -rf "${folder:?}/$name"
    mkdir -p "$(dirname "$folder/$name")"
    # 3: done, but a cell was held over a gap, which the loaders are told.
    if { "$program" export "$session" --format "$format" --out "$folder/$name" --keep-idle --no-check "$@" >"$folder/export.log" 2>&1 ||
        [ $? -eq 3 ]; } && "$program" verify "$folder/$name" >>"$folder/export.log" 2>&1; then
        return 0
    fi
    tail -20 "$folder/export.log"
    echo "== $name: FAILED, not exported"
    failed=1
    return 1
}

# check TITLE SCRIPT ARGUMENT...: a script beside this, whose last line is OK where all holds.
check() {
    title=$1 script=$2
    shift 2
    case " ${ONLY:-$script} " in *" $script "*) ;; *) return 0 ;; esac
    echo "== $title"
    if "$python" "$here/$script" "$@" >"$folder/check.log" 2>&1 && [ "$(tail -1 "$folder/check.log")" = OK ]; then
        grep -v "^NOTE\|^numcodec\|Warning" "$folder/check.log" | tail -14
        echo "== $title: passed"
    else
        tail -40 "$folder/check.log"
        echo "== $title: FAILED"
        failed=1
    fi
}
