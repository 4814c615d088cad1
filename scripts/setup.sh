#!/bin/sh
# Checks for what building and running dexumi needs, and installs what is missing.
#
#   scripts/setup.sh           install what is missing (apt, rustup)
#   scripts/setup.sh --check   only say what is missing; exit 1 if anything is
#
# For Debian 12 and 13, Ubuntu 22.04 and 24.04. Where all is there it does
# nothing, says nothing, needs no network and takes a fraction of a second.
# Each thing is looked for itself before its package is: an ffmpeg or an OpenCV
# that you built yourself counts.

set -eu

check_only=false
case "${1:-}" in
    "") ;;
    --check) check_only=true ;;
    *) echo "usage: scripts/setup.sh [--check]" >&2; exit 2 ;;
esac

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
cargo_home=${CARGO_HOME:-$HOME/.cargo}
# A rustup toolchain is found even where the shell does not have it on its PATH yet.
PATH="$cargo_home/bin:$PATH:/usr/sbin:/sbin"
export PATH

say() { printf '%s\n' "setup: $*" >&2; }
fail() { say "$*"; exit 1; }

# --- What is looked for -----------------------------------------------------

has_program() { command -v "$1" >/dev/null 2>&1; }

libraries=$(ldconfig -p 2>/dev/null || true)
has_library() {
    case "$libraries" in
        *"$1 "*) return 0 ;;
        *) return 1 ;;
    esac
}

has_file() { # any of the given paths (patterns expand at the call)
    for path in "$@"; do
        [ -e "$path" ] && return 0
    done
    return 1
}

has_opencv() { has_program pkg-config && pkg-config --exists opencv4; }
has_turbojpeg() { has_program pkg-config && pkg-config --exists libturbojpeg; }
has_libclang() {
    has_file /usr/lib/llvm-*/lib/libclang.so* /usr/lib/*/libclang*.so* /usr/lib*/libclang*.so* \
        /usr/local/lib/libclang*.so* ${LIBCLANG_PATH:+"$LIBCLANG_PATH"/libclang*}
}
has_clang() { has_program clang || has_file /usr/bin/clang-[0-9]*; }
has_certificates() {
    has_file /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/cert.pem
}

missing_packages=""
missing_list=""
is_installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }
need() { # package, why, probe...
    package=$1
    why=$2
    shift 2
    if ! "$@" && ! is_installed "$package"; then
        missing_packages="$missing_packages $package"
        missing_list="$missing_list
  $package: $why"
    fi
}

need make               "runs the targets of the Makefile"                     has_program make
need g++                "compiles the C and C++ parts of the crates, links"    has_program c++
need pkg-config         "finds OpenCV and libjpeg-turbo"                       has_program pkg-config
need libopencv-dev      "OpenCV: decodes, scales and composes images"          has_opencv
need libturbojpeg0-dev  "decodes recorded images for the exports"              has_turbojpeg
need clang              "reads the headers of OpenCV and of Video4Linux"       has_clang
need libclang-dev       "the same, as a library, for the build scripts"        has_libclang
need ca-certificates    "trusted downloads of crates"                          has_certificates
need ffmpeg             "video of the exported data sets"                      has_program ffmpeg
need libegl1            "draws the operator app"                               has_library libEGL.so.1
need libgl1             "draws the operator app"                               has_library libGL.so.1
need libgl1-mesa-dri    "draws it where there is no graphics card"             has_file /usr/lib/*/dri/swrast_dri.so /usr/lib*/dri/swrast_dri.so
need libx11-xcb1        "windows of the operator app (X11)"                    has_library libX11-xcb.so.1
need libxcursor1        "windows of the operator app (X11)"                    has_library libXcursor.so.1
need libxi6             "windows of the operator app (X11)"                    has_library libXi.so.6
need libxkbcommon-x11-0 "its keyboard (X11)"                                   has_library libxkbcommon-x11.so.0
need xvfb               "an invisible screen, for the tests of the app"        has_program Xvfb

# --- Rust -------------------------------------------------------------------

wanted=$(sed -n 's/^rust-version *= *"\([0-9]*\.[0-9]*\).*/\1/p' "$root/Cargo.toml" | head -n 1)
[ -n "$wanted" ] || fail "no rust-version in $root/Cargo.toml"

# The version in use in this folder, as MAJOR.MINOR; empty where there is none.
rust_found() {
    (cd "$root" && rustc --version 2>/dev/null) | sed -n 's/^rustc \([0-9]*\.[0-9]*\).*/\1/p'
}

rust_is_new_enough() {
    found=$(rust_found)
    [ -n "$found" ] && has_program cargo || return 1
    [ "${found%%.*}" -gt "${wanted%%.*}" ] && return 0
    [ "${found%%.*}" -eq "${wanted%%.*}" ] && [ "${found#*.}" -ge "${wanted#*.}" ]
}

rust_missing=false
if ! rust_is_new_enough; then
    rust_missing=true
    if ! has_program rustup; then
        need curl "downloads rustup" has_program curl
    fi
fi

# --- Nothing to do, or only asked -------------------------------------------

if [ -z "$missing_packages" ] && [ "$rust_missing" = false ]; then
    exit 0
fi

if [ -n "$missing_packages" ]; then
    say "missing:$missing_list"
fi
if [ "$rust_missing" = true ]; then
    found=$(rust_found)
    say "missing: Rust $wanted or newer (found: ${found:-none})"
fi
if [ "$check_only" = true ]; then
    exit 1
fi

# --- Packages ---------------------------------------------------------------

install_packages() {
    command_line="apt-get install -y --no-install-recommends$missing_packages"
    if ! has_program apt-get; then
        fail "no apt-get on this system: install the packages above under its own names, then run this again"
    fi
    as_root=""
    if [ "$(id -u)" -ne 0 ]; then
        if ! has_program sudo; then
            fail "not root and no sudo here. As root, run
    apt-get update && $command_line
then run this again"
        fi
        as_root="sudo"
        if [ ! -t 0 ]; then
            as_root="sudo -n" # nobody is there to type a password
        fi
        if ! $as_root true; then
            fail "sudo was refused. As root, run
    apt-get update && $command_line
then run this again"
        fi
    fi

    say "installing with apt:$missing_packages"
    if ! $as_root apt-get update -qq; then
        say "the package lists could not be renewed (no network?); trying with those at hand"
    fi
    # Unquoted on purpose: a list of words.
    # shellcheck disable=SC2086
    if ! $as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends $missing_packages >&2 </dev/null; then
        fail "apt could not install them: its message is above. Without a network, connect and run this again;
where a package is unknown, switch on the component it is in (Ubuntu: sudo add-apt-repository universe). By hand:
    ${as_root:+sudo }apt-get update && ${as_root:+sudo }$command_line"
    fi
}

# --- Rust, installed --------------------------------------------------------

install_rust() {
    if has_program rustup; then
        say "bringing the stable toolchain up to date with rustup; which one is your default stays as it is"
        rustup toolchain install stable --profile minimal --component clippy,rustfmt --no-self-update >&2 ||
            fail "rustup could not install the stable toolchain: its message is above. Without a network, connect and run this again"
        if ! rust_is_new_enough; then
            say "this folder now uses the stable toolchain (undo: rustup override unset --path $root)"
            rustup override set stable --path "$root" >&2
        fi
    else
        say "installing Rust with rustup into $cargo_home; a Rust of the system stays where it is"
        script=$(mktemp)
        trap 'rm -f "$script"' EXIT
        curl --proto '=https' --tlsv1.2 --silent --show-error --fail --location --retry 3 \
            --output "$script" https://static.rust-lang.org/rustup/rustup-init.sh ||
            fail "rustup could not be downloaded from static.rust-lang.org: curl's message is above. Without a network, connect and run this again"
        RUSTUP_INIT_SKIP_PATH_CHECK=yes sh "$script" -y --quiet --no-modify-path \
            --profile minimal --component clippy,rustfmt --default-toolchain stable >&2 </dev/null ||
            fail "rustup could not install Rust: its message is above. Without a network, connect and run this again"
        say "make finds it by itself; for your own shell: . \"$cargo_home/env\""
    fi
    rust_is_new_enough ||
        fail "Rust is still older than $wanted (found: $(rust_found)). RUSTUP_TOOLCHAIN or a rust-toolchain file may hold it back: see rustup show"
}

if [ -n "$missing_packages" ]; then
    install_packages
fi
if [ "$rust_missing" = true ]; then
    install_rust
fi
say "all that dexumi needs is here"
