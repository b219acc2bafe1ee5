"""The wire between network namespaces: a switch with delay, loss and partition on command.

The kernel that CI has may lack netem, so packets pass through here: each pod's device is a TUN device
that this process made and keeps, moved into the pod's namespace. What a pod sends is read from its
device and written to the device of the pod that has the destination address.

    wire.py pod=address ...

prints {"event":"ready"}, then obeys JSON lines on stdin and answers each {"event":"done","id":...} with
what it has counted so far. A line sets what it names and leaves the rest as it was:

    {"id": "1", "delay_ms": 40, "loss": 0.02, "cut": ["b"]}

delay_ms: every packet is delivered that much later. loss: this part of the packets is dropped (a seeded
choice). cut: nothing passes to or from these pods; what was on its way is lost too.
"""

import collections
import fcntl
import json
import os
import random
import selectors
import socket
import struct
import sys
import time

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
SEED = 7
# More than any window: a queue that is full would be loss that nobody asked for.
MAX_QUEUED = 100_000


def tun(name):
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    return fd


def destination(packet):
    if packet[0] >> 4 == 4:
        return packet[16:20]
    return packet[24:40]


def main():
    pods = dict(argument.split("=") for argument in sys.argv[1:])
    devices = {name: tun(name) for name in pods}
    by_address = {}
    for name, address in pods.items():
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        by_address[socket.inet_pton(family, address)] = name
    chance = random.Random(SEED)
    delay, loss, cut = 0.0, 0.0, set()
    queue = collections.deque()
    counted = {"passed": 0, "lost": 0, "cut": 0, "overflow": 0}

    def deliver(source, target, packet):
        if source in cut or target in cut:
            counted["cut"] += 1
            return
        try:
            os.write(devices[target], packet)
            counted["passed"] += 1
        except OSError:
            counted["overflow"] += 1

    look = selectors.DefaultSelector()
    for name, fd in devices.items():
        look.register(fd, selectors.EVENT_READ, name)
    os.set_blocking(0, False)
    look.register(0, selectors.EVENT_READ, None)
    said = b""
    print(json.dumps({"event": "ready"}), flush=True)
    while True:
        wait = max(0.0, queue[0][0] - time.monotonic()) if queue else None
        for key, _ in look.select(wait):
            if key.data is None:
                text = os.read(0, 65536)
                if not text:
                    return
                *lines, said = (said + text).split(b"\n")
                for line in lines:
                    order = json.loads(line)
                    delay = order.get("delay_ms", delay * 1000) / 1000
                    loss = order.get("loss", loss)
                    cut = set(order.get("cut", cut))
                    print(json.dumps({"event": "done", "id": order["id"], **counted}), flush=True)
                continue
            for _ in range(64):
                try:
                    packet = os.read(key.fd, 65536)
                except BlockingIOError:
                    break
                target = by_address.get(destination(packet))
                if target is None:
                    continue  # multicast of the kernel's own
                if loss and chance.random() < loss:
                    counted["lost"] += 1
                elif not delay and not queue:
                    deliver(key.data, target, packet)
                elif len(queue) < MAX_QUEUED:
                    queue.append((time.monotonic() + delay, key.data, target, packet))
                else:
                    counted["overflow"] += 1
        now = time.monotonic()
        while queue and queue[0][0] <= now:
            deliver(*queue.popleft()[1:])


main()
