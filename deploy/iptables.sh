#!/bin/sh
# Redirects the application's TCP connections to the ripcord beside it, so that the application needs
# no configuration. Runs as root (or with NET_ADMIN) in the network namespace of the pod or host, e.g.
# in an init container. Can be run again: it replaces what it made before. `iptables.sh remove` undoes it.
#
#   OUTBOUND_PORTS  ports that the application calls, e.g. "8888 9000"      (default: none)
#   OUTBOUND_TO     ripcord's listener for them                             (default: 15001)
#   INBOUND_PORTS   ports that the application serves                       (default: none)
#   INBOUND_TO      ripcord's listener for them                             (default: 15006)
#   RIPCORD_UID     the user that ripcord runs as: its own connections are left alone, or they would
#                   come back to it                                         (default: 65532, the image's)
#   IPTABLES        the programs, e.g. "iptables ip6tables"                 (default: iptables); in IPv6
#                   OUTBOUND_TO is on [::1], not on 127.0.0.1
#
# Only these ports: ripcord speaks gRPC and TTHeader and refuses everything else.
set -eu

: "${OUTBOUND_PORTS:=}" "${OUTBOUND_TO:=15001}" "${INBOUND_PORTS:=}" "${INBOUND_TO:=15006}"
: "${RIPCORD_UID:=65532}" "${IPTABLES:=iptables}"

# chain NAME: makes it, or empties it.
chain() {
    "$iptables" -w -t nat -N "$1" 2>/dev/null || "$iptables" -w -t nat -F "$1"
}

# jump FROM TO: once.
jump() {
    "$iptables" -w -t nat -C "$1" -p tcp -j "$2" 2>/dev/null || "$iptables" -w -t nat -A "$1" -p tcp -j "$2"
}

# forget FROM TO
forget() {
    while "$iptables" -w -t nat -D "$1" -p tcp -j "$2" 2>/dev/null; do :; done
    "$iptables" -w -t nat -F "$2" 2>/dev/null || return 0
    "$iptables" -w -t nat -X "$2"
}

for iptables in $IPTABLES; do
    if [ "${1:-}" = remove ]; then
        forget OUTPUT RIPCORD_OUTBOUND
        forget PREROUTING RIPCORD_INBOUND
        continue
    fi
    chain RIPCORD_OUTBOUND
    "$iptables" -w -t nat -A RIPCORD_OUTBOUND -m owner --uid-owner "$RIPCORD_UID" -j RETURN
    # What stays on this host or in this pod: the application's calls to itself and to ripcord.
    "$iptables" -w -t nat -A RIPCORD_OUTBOUND -o lo -j RETURN
    for port in $OUTBOUND_PORTS; do
        "$iptables" -w -t nat -A RIPCORD_OUTBOUND -p tcp --dport "$port" -j REDIRECT --to-ports "$OUTBOUND_TO"
    done
    jump OUTPUT RIPCORD_OUTBOUND
    chain RIPCORD_INBOUND
    for port in $INBOUND_PORTS; do
        "$iptables" -w -t nat -A RIPCORD_INBOUND -p tcp --dport "$port" -j REDIRECT --to-ports "$INBOUND_TO"
    done
    jump PREROUTING RIPCORD_INBOUND
done
