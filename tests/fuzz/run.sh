#!/bin/sh
# Fuzzes the targets one after another: run.sh SECONDS [TARGET ...]
#
# Needs a nightly compiler, not cargo-fuzz. What is found beyond the corpus goes
# to work/TARGET, crashes to artifacts/TARGET-*. Memory: 512 MB in all, 100 MB at
# once (the largest image that a driver takes is 64 MB).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cd "$here"
seconds=${1:?seconds for each target}
shift
[ $# -gt 0 ] || set -- $(ls corpus)

# The versions that are shipped.
cp ../../Cargo.lock Cargo.lock
host=$(rustc -vV | sed -n 's/^host: //p')
export RUSTFLAGS="-Zsanitizer=address --cfg fuzzing -Cpasses=sancov-module \
-Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
-Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares"
cargo +nightly build --release --target "$host" --bins
programs=${CARGO_TARGET_DIR:-target}/$host/release

export ASAN_OPTIONS=quarantine_size_mb=16:detect_leaks=0
mkdir -p artifacts
for target in "$@"; do
	mkdir -p "work/$target"
	"$programs/$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=512 \
		-malloc_limit_mb=100 -max_len=16384 -use_value_profile=1 -print_final_stats=1 \
		-artifact_prefix="artifacts/$target-" "work/$target" "corpus/$target"
done
