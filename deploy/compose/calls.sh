# Scenarios for the peer of the interop tests (tests/interop/README.md), two a second: one stream that
# echoes three messages, one that its caller cancels after the first.
n=0
while :; do
    n=$((n + 1))
    echo '{"id":"echo-'$n'","method":"Bidi","script":[{"op":"echo"}],"ops":[{"op":"send","n":3,"size":100},{"op":"recv","n":3},{"op":"close_send"}]}'
    echo '{"id":"cancel-'$n'","method":"Bidi","script":[{"op":"echo","n":1},{"op":"wait_cancel"}],"ops":[{"op":"send","n":1,"size":100},{"op":"recv","n":1},{"op":"cancel"}]}'
    sleep 1
done
