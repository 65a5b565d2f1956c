// Listening at 0.0.0.0: one listener for each IPv4 address of this machine, so that each is plain or encrypted by itself.
// Invariant: 127.0.0.1 is among them from the start, all have one port, and an address that comes later is served too.
// Never: accepts by itself; what each does is the caller's.

import { networkInterfaces } from "node:os";
import { type Address, AS_SEEN, LOOPBACK } from "../protocol/address.ts";
import { type Fault, isFault } from "../protocol/fault.ts";
import { type Clock, every } from "../shared/clock.ts";
import type { Listener } from "./connection.ts";

/** How often the addresses are looked at. */
const LOOK_MS = 5000;
/** A free port of one address may be taken at another. */
const FREE_PORT_TRIES = 8;

/** Every IPv4 address of this machine. */
export function machineIps(): string[] {
  const all = Object.values(networkInterfaces()).flatMap((some) => some ?? []);
  return all.filter(({ family }) => family === "IPv4").map(({ address }) => address);
}

type ListenAt = (at: Address) => Listener | Fault;
type Machine = { readonly clock: Clock; readonly ips?: () => readonly string[] };

/** Port 0 takes one that is free at each address. Faults as those of listen. */
export function listenEverywhere(port: number, listenAt: ListenAt, machine: Machine): Listener | Fault {
  for (let tries = 1; ; tries++) {
    const opened = openAll(port, listenAt, machine);
    if (!isFault(opened) || port !== 0 || tries === FREE_PORT_TRIES) return opened;
  }
}

function openAll(wanted: number, listenAt: ListenAt, { clock, ips = machineIps }: Machine): Listener | Fault {
  const first = listenAt({ ip: LOOPBACK, port: wanted });
  if (isFault(first)) return first;
  const { port } = first.address;
  const open = new Map<string, Listener>([[LOOPBACK, first]]);

  /** Listens where it does not yet; the fault of an address that is there. */
  function follow(): Fault | undefined {
    let trouble: Fault | undefined;
    const present = new Set([LOOPBACK, ...ips()]);
    for (const [ip, listener] of open) {
      if (present.has(ip)) continue;
      listener.close();
      open.delete(ip);
    }
    for (const ip of present) {
      if (open.has(ip)) continue;
      const listener = listenAt({ ip, port });
      if (!isFault(listener)) open.set(ip, listener);
      else if (listener.fault !== "HOST_UNAVAILABLE") trouble ??= listener; // that one went as we looked
    }
    return trouble;
  }

  const closeAll = (): void => {
    for (const listener of open.values()) listener.close();
  };
  const trouble = follow();
  if (trouble !== undefined) {
    closeAll();
    return trouble;
  }
  const stopLooking = every(clock, LOOK_MS, follow);
  return {
    address: { ip: AS_SEEN, port },
    close() {
      stopLooking();
      closeAll();
    },
  };
}
