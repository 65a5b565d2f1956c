// What the system's routes say of a destination: whether a dial can leave this machine, and from which address.
// Invariant: sends nothing; a UDP socket is opened, pointed there and closed.
// Never: says anything of the other side.

import { type Address, isIp } from "../protocol/address.ts";

/** A route does not depend on the port, and nothing is sent to it. */
const ANY_PORT = 9;

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

/** The address of this machine from which connections to `ip` leave; undefined when there is no way there. */
export async function localIp(ip: string): Promise<string | undefined> {
  try {
    const socket = await Bun.udpSocket({ connect: { hostname: ip, port: ANY_PORT } });
    const { address } = socket.address;
    socket.close();
    return isIp(address) && address !== "0.0.0.0" ? address : undefined;
  } catch {
    return undefined;
  }
}

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
