// A long link in software: two TUN devices, and packets that cross from one to the other late and at a limited rate.
// Invariant: packets keep their order; each leaves after its turn on the wire plus the one-way delay; a full queue drops.
// Never: looks into a packet. Runs as a process of its own, as root, on Linux, until it is killed.
//
//   bun bench/far/link.ts DEVICE_A DEVICE_B DELAY_MS RATE_BITS QUEUE_MS LOSS     says "ready" when both devices exist

import { dlopen, ptr } from "bun:ffi";
import * as fs from "node:fs";

const TUNSETIFF = 0x400454ca;
const IFF_TUN = 1;
const IFF_NO_PI = 0x1000;
const POLLIN = 1;
const PACKET_BYTES_MAX = 2048;
const BATCH = 256;

const [nameA = "", nameB = "", delayMs, rateBits, queueMs, loss] = Bun.argv.slice(2);
const delay = Number(delayMs);
const bytesPerMs = Number(rateBits) / 8000;
const queueMost = Number(queueMs);
const lossPart = Number(loss);

const libc = dlopen("libc.so.6", {
  ioctl: { args: ["i32", "u64", "ptr"], returns: "i32" },
  read: { args: ["i32", "u64", "u64"], returns: "i32" },
  write: { args: ["i32", "u64", "u64"], returns: "i32" },
  poll: { args: ["ptr", "u64", "i32"], returns: "i32" },
}).symbols;

function openTun(name: string): number {
  const fd = fs.openSync("/dev/net/tun", fs.constants.O_RDWR | fs.constants.O_NONBLOCK);
  const request = new Uint8Array(40); // struct ifreq
  request.set(new TextEncoder().encode(name));
  new DataView(request.buffer).setUint16(16, IFF_TUN | IFF_NO_PI, true);
  if (libc.ioctl(fd, TUNSETIFF, ptr(request)) < 0) throw new Error(`cannot make the device ${name}`);
  return fd;
}

/** One direction: a ring of packets that wait for their time. */
function createDirection(from: number, to: number) {
  const slots = Math.ceil(((delay + queueMost) * bytesPerMs) / 500) + 4096;
  const arena = new Uint8Array(slots * PACKET_BYTES_MAX);
  const base = ptr(arena);
  const due = new Float64Array(slots);
  const lengths = new Uint32Array(slots);
  let head = 0;
  let tail = 0;
  let wireFreeAt = 0;
  const next = (slot: number): number => (slot + 1 === slots ? 0 : slot + 1);
  return {
    /** Held here, because an address alone keeps nothing from the garbage collector. */
    arena,
    receive(now: number): void {
      for (let count = 0; count < BATCH; count++) {
        if (next(tail) === head) return; // it waits in the device
        const length = libc.read(from, base + tail * PACKET_BYTES_MAX, PACKET_BYTES_MAX);
        if (length <= 0) return;
        const startsAt = Math.max(now, wireFreeAt);
        if (startsAt - now > queueMost || (lossPart > 0 && Math.random() < lossPart)) continue;
        wireFreeAt = startsAt + length / bytesPerMs;
        lengths[tail] = length;
        due[tail] = wireFreeAt + delay;
        tail = next(tail);
      }
    },
    deliver(now: number): void {
      while (head !== tail && (due[head] as number) <= now) {
        libc.write(to, base + head * PACKET_BYTES_MAX, lengths[head] as number);
        head = next(head);
      }
    },
    /** Milliseconds until the next packet is due. */
    waitMs: (now: number): number => (head === tail ? 1000 : (due[head] as number) - now),
  };
}

const [a, b] = [openTun(nameA), openTun(nameB)];
const directions = [createDirection(a, b), createDirection(b, a)] as const;
const polled = new Int32Array([a, POLLIN, b, POLLIN]); // struct pollfd: fd, events and revents in 16 bits each
console.log("ready");
for (;;) {
  const now = performance.now();
  for (const direction of directions) {
    direction.receive(now);
    direction.deliver(performance.now());
  }
  const wait = Math.min(...directions.map((direction) => direction.waitMs(performance.now())));
  libc.poll(ptr(polled), 2, Math.max(0, Math.min(1000, Math.ceil(wait))));
}
