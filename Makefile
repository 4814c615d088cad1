# Two commands do it all, from a bare Debian or Ubuntu on:
#
#   make demo    the whole job on the emulated rig
#   make test    every test
#
# One profile (release) for all of them, so that nothing is built twice.

SHELL := /bin/sh
CARGO_HOME ?= $(HOME)/.cargo
# A Rust that scripts/setup.sh has just installed is found without a new shell.
export PATH := $(CARGO_HOME)/bin:$(PATH)

TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
DEMO_OUT ?= demo-out
# Where CI is set, a Cargo.lock that does not fit is an error, not a change.
LOCKED := $(if $(CI),--locked)

.PHONY: help setup build demo test test-long test-official test-loaders test-drivers measure lint clean-demo

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: ## install what is missing (apt packages, Rust); silent where all is there
	@sh scripts/setup.sh

# The tests are built along: with them Cargo chooses the same features of every
# dependency as `make test` does, so that nothing is built twice.
build: setup ## the program: target/release/dexumi
	cargo build --release --workspace --lib --bins --tests $(LOCKED)

demo: build ## the whole job on the emulated rig, into demo-out
	"$(TARGET_DIR)/release/dexumi" demo --out "$(DEMO_OUT)"

# The documentation's examples come first, so that the last lines are the
# summary of the tests. cargo test runs them itself.
test: setup ## every test, with cargo-nextest where it is installed
	@set -e; if cargo nextest --version >/dev/null 2>&1; then \
		set -x; \
		cargo test --release --workspace $(LOCKED) --doc --no-fail-fast; \
		cargo nextest run --release --workspace $(LOCKED); \
	else \
		set -x; \
		cargo test --release --workspace $(LOCKED) --no-fail-fast; \
	fi

test-long: ## every test, the slow variants too (hours of recording, kill after kill)
	@DEXUMI_LONG=1 $(MAKE) test

# Both record emulated rigs into LOADERS_OUT, unless sessions are named (EXO, GLOVES). What else they
# need, tests/loaders/README.md says.
LOADERS_OUT ?= loaders-out
test-official: build ## read what was exported with lerobot, zarr and h5py (Python 3.12, downloads)
	sh tests/loaders/official.sh "$(TARGET_DIR)/release/dexumi" "$(LOADERS_OUT)" $(EXO)

test-loaders: build ## read every format with its model's own loader (checkouts by environment variables)
	sh tests/loaders/run.sh "$(TARGET_DIR)/release/dexumi" "$(LOADERS_OUT)" $(EXO) $(GLOVES)

test-drivers: build ## the program against real kernel drivers, in a virtual machine (about 25 minutes; downloads 90 MB once)
	python3 tests/drivers/run.py --program "$(TARGET_DIR)/release/dexumi"

measure: build ## load, synchronisation, an hour of recording; prints the tables of docs/measured.md
	cargo build --release --examples $(LOCKED)
	"$(TARGET_DIR)/release/examples/measure_sync"
	"$(TARGET_DIR)/release/examples/measure_load" --limit 60
	"$(TARGET_DIR)/release/examples/measure_soak"

lint: setup ## formatting, clippy, licences and advisories
	cargo fmt --all --check
	cargo clippy --release --workspace --all-targets $(LOCKED) -- -D warnings
	@if cargo deny --version >/dev/null 2>&1; then \
		set -x; cargo deny check; \
	else \
		echo "lint: cargo-deny is not installed, licences and advisories were not checked (cargo install cargo-deny)"; \
	fi

clean-demo: ## remove demo-out
	rm -rf -- "$(DEMO_OUT)"
