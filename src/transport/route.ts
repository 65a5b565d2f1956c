// Whether a dial that was refused can have left this machine at all.
// Invariant: sends nothing; a UDP socket is opened, pointed there and closed.
// Never: says anything of the other side.

import type { Address } from "../protocol/address.ts";

/** Failures of this machine's own: no descriptors, no memory, no ports, no network, or its own firewall. */
const OURS: ReadonlySet<string> = new Set([
  "EMFILE",
  "ENFILE",
  "ENOMEM",
  "ENOBUFS",
  "EADDRNOTAVAIL",
  "ENETUNREACH",
  "ENETDOWN",
]);

/** Bun calls every failed dial refused. The code of what fails on this side, or undefined when nothing does. */
export async function ownTrouble(to: Address): Promise<string | undefined> {
  try {
    const socket = await Bun.udpSocket({ connect: { hostname: to.ip, port: to.port } });
    socket.close();
    return undefined;
  } catch (error) {
    const code = String((error as { code?: unknown })?.code);
    return OURS.has(code) ? code : undefined;
  }
}
