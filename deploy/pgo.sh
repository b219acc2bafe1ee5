#!/bin/sh
# Builds target/pgo/ripcord: profile `dist`, optimized by what a training run executes (PGO). The
# training is the load of benches/: all four pairs, small and larger messages, one and eight in
# flight, short streams. Costs two fat-LTO builds (about ten minutes on two cores) and a minute of
# load; saves 11 to 27 % of the CPU per message and a fifth per stream (benches/README.md).
#
#   deploy/pgo.sh [TARGET]        e.g. x86_64-unknown-linux-musl
#
# The training profile belongs to one compiler and one state of the sources: it is made, not kept.
set -eu
cd "$(dirname "$0")/.."
host=$(rustc -vV | sed -n 's/^host: //p')
target=${1:-$host}
profdata=$(rustc --print sysroot)/lib/rustlib/$host/bin/llvm-profdata
[ -x "$profdata" ] || rustup component add llvm-tools

out=$PWD/target/pgo
rm -rf "$out/profiles" && mkdir -p "$out/profiles"

# build NAME FLAGS
build() {
    echo "== pgo: $1 build for $target"
    RUSTFLAGS="${RUSTFLAGS:-} $2" cargo build --locked --profile dist --target "$target" \
        --target-dir "$out/$1" --bin ripcord
}

build instrumented "-Cprofile-generate=$out/profiles"
echo "== pgo: the load generator"
bench=$(cargo bench --locked --profile release --bench proxy --no-run --message-format=json-render-diagnostics \
    | sed -n '/"kind":\["bench"\]/s/.*"executable":"\([^"]*\)".*/\1/p')
[ -x "$bench" ] || { echo "no load generator was built" >&2; exit 1; }

echo "== pgo: training"
cat >"$out/train.yaml" <<'Y'
node: training
admin: { address: "127.0.0.1:15199" }
workers: 1
listeners:
  - { name: in, address: "127.0.0.1:15101", protocol: auto }
backends:
  g: { protocol: grpc, endpoints: ["127.0.0.1:15051"] }
  t: { protocol: ttheader, endpoints: ["127.0.0.1:18888"] }
routes:
  - { name: g, match: { service: GrpcEcho }, backend: g }
  - { name: t, match: { service: TtheaderEcho }, backend: t }
telemetry: { access_log: off }
Y
"$bench" echo >"$out/echo.log" 2>&1 &
echo=$!
"$out/instrumented/$target/dist/ripcord" run --config "$out/train.yaml" >"$out/ripcord.log" 2>&1 &
ripcord=$!
trap 'kill $echo $ripcord 2>/dev/null || true' EXIT
# The load waits for neither of the two.
turns=0
until grep -q 'listener=in ' "$out/ripcord.log"; do
    turns=$((turns + 1))
    kill -0 $ripcord && [ $turns -lt 100 ] || { cat "$out/ripcord.log" >&2; exit 1; }
    sleep 0.1
done
for wire in grpc ttheader; do
    for service in GrpcEcho TtheaderEcho; do
        for load in "128 1" "1024 1" "128 8" "1024 8" "128 0"; do
            # shellcheck disable=SC2086 # two words
            set -- $load
            printf '%s to %s, %s bytes, window %s: ' "$wire" "$service" "$1" "$2"
            "$bench" load --address 127.0.0.1:15101 --wire "$wire" --service "$service" \
                --size "$1" --window "$2" --seconds 3
        done
    done
done
# Its profile is written as it leaves.
kill -TERM $ripcord
wait $ripcord || true
kill $echo
trap - EXIT
"$profdata" merge -o "$out/merged.profdata" "$out/profiles"

build optimized "-Cprofile-use=$out/merged.profdata"
cp "$out/optimized/$target/dist/ripcord" "$out/ripcord"
ls -l "$out/ripcord"
