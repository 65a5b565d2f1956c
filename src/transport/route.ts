// What the system's routes say of a destination: whether a dial can leave this machine, and from which address.
// Invariant: sends nothing; a UDP socket is opened, pointed there and closed.
// Never: says anything of the other side.

import { type Address, isIp, LOOPBACK } from "../protocol/address.ts";
import { type Fault, fault } from "../protocol/fault.ts";

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

/** The first IPv4 address of a host's name; HOST_UNKNOWN when the system knows none. */
export async function resolveHost(name: string): Promise<string | Fault> {
  if (isIp(name)) return name;
  // Known to every system by RFC 6761, and not always to the names that it has.
  if (name.toLowerCase() === "localhost") return LOOPBACK;
  try {
    const found = await Bun.dns.lookup(name, { family: 4 });
    const address = found.find((one) => isIp(one.address))?.address;
    return address ?? fault("HOST_UNKNOWN", "network", name, true);
  } catch {
    return fault("HOST_UNKNOWN", "network", name, true);
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
