#!/bin/sh
# Builds the static binary that the image holds and proves that it is one. The Dockerfile runs this
# and nothing else, so what was run here is what the image does.
#
#   deploy/build-static.sh FOLDER       # FOLDER/ripcord; Debian or Ubuntu, root for apt; rustup
#
# musl rather than a static glibc: its resolver needs no NSS modules and no nsswitch.conf, so that
# /etc/hosts and /etc/resolv.conf, which the runtime mounts, are all that it reads. Allocations are
# mimalloc's on either. CARGO_TARGET_DIR is honoured.
set -eu
out=${1:?usage: deploy/build-static.sh FOLDER}
cd "$(dirname "$0")/.."
target=$(uname -m)-unknown-linux-musl

# musl-gcc compiles the C of mimalloc, and links.
if ! command -v musl-gcc >/dev/null; then
    apt-get update -q
    DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends musl-tools
fi
rustup target add "$target"

cargo build --locked --profile dist --target "$target" --bin ripcord
install -D -s "${CARGO_TARGET_DIR:-target}/$target/dist/ripcord" "$out/ripcord"

# No interpreter and no needed library: nothing of the system is loaded.
if LC_ALL=C readelf -ld "$out/ripcord" | grep -E 'INTERP|\(NEEDED\)'; then
    echo "$out/ripcord is not static" >&2
    exit 1
fi

# As in the image: an empty root, an unprivileged user without capabilities.
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
cp "$out/ripcord" config/reference.yaml "$root"
chmod 755 "$root"
if [ "$(id -u)" -eq 0 ]; then
    in_root() { chroot --userspec=65532:65532 --groups= "$root" "$@"; }
else
    echo "not root, so not in an empty root" >&2
    in_root() { (cd "$root" && ".$1" "$2" ${3+".$3"}); }
fi
in_root /ripcord check /reference.yaml
in_root /ripcord demo
