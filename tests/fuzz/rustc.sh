#!/bin/sh
# The compiler, with coverage for libFuzzer in our crates and in the parsers that
# they call; what else is below is built as ever.
rustc=$1
shift
name=
previous=
for argument in "$@"; do
	[ "$previous" = --crate-name ] && name=$argument
	previous=$argument
done
case $name in
dexumi_* | mcap | roxmltree | toml* | serde_json | lz4_flex | lzfse_rust)
	exec "$rustc" "$@" --cfg fuzzing -Cpasses=sancov-module \
		-Cllvm-args=-sanitizer-coverage-level=4 \
		-Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
		-Cllvm-args=-sanitizer-coverage-pc-table \
		-Cllvm-args=-sanitizer-coverage-trace-compares
	;;
*) exec "$rustc" "$@" ;;
esac
