#!/bin/sh
# Fuzzes the targets one after another: run.sh SECONDS [TARGET ...]
#
# On any compiler, without cargo-fuzz. What is found beyond the corpus goes to
# work/TARGET, crashes to artifacts/TARGET-*.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cd "$here"
seconds=${1:?seconds for each target}
shift
[ $# -gt 0 ] || set -- $(ls corpus)

# The versions that are shipped; libFuzzer's are added.
cp ../../Cargo.lock Cargo.lock
# Not `seeds`: it has no fuzzer that the coverage could go to.
RUSTC_WRAPPER="$here/rustc.sh" cargo build $(printf -- '--bin %s ' "$@")
programs=${CARGO_TARGET_DIR:-target}/debug

mkdir -p artifacts
for target in "$@"; do
	mkdir -p "work/$target"
	echo "== $target"
	"$programs/$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=512 \
		-max_len=16384 -use_value_profile=1 -print_final_stats=1 \
		-artifact_prefix="artifacts/$target-" "work/$target" "corpus/$target"
done
