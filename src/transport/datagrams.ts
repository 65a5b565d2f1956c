// UDP of the system: single datagrams from and to other machines, by multicast and broadcast too.
// Invariant: a datagram that cannot leave is dropped, as the network may drop it; a failure never ends the program.
// Never: reads what it carries.

import { createSocket } from "node:dgram";
import { networkInterfaces } from "node:os";
import { type Address, isIp, lastOf, type Range, rangeOf } from "../protocol/address.ts";
import { type Fault, fault } from "../protocol/fault.ts";
import { errorCode, LISTEN_FAULTS } from "./tcp.ts";

export type Datagrams = {
  send(bytes: Uint8Array, to: Address): void;
  /** Hears `group` through the interface that has `ip` from now on; again is harmless. False where that cannot be. */
  join(group: string, ip: string): boolean;
  close(): void;
};

export type DatagramOptions = {
  /** 0.0.0.0 for every interface; port 0 for any free one. */
  readonly at: Address;
  /** Other programs may listen at that port too, and hear what is sent to all. */
  readonly isShared?: boolean;
  /** What is sent to all leaves through the interface that has `at.ip`, and no router passes it on. */
  readonly sendsToAll?: boolean;
};

/** Faults: PORT_IN_USE, PORT_DENIED, HOST_UNAVAILABLE, NO_DESCRIPTORS. */
export type OpenDatagrams = (
  options: DatagramOptions,
  hear: (bytes: Uint8Array, from: Address) => void,
) => Promise<Datagrams | Fault>;

export const openDatagrams: OpenDatagrams = ({ at, isShared = false, sendsToAll = false }, hear) => {
  const { promise, resolve } = Promise.withResolvers<Datagrams | Fault>();
  const socket = createSocket({ type: "udp4", reuseAddr: isShared });
  const attempt = (action: () => void): boolean => {
    try {
      action();
      return true;
    } catch {
      return false;
    }
  };
  const close = (): void => void attempt(() => socket.close());
  const fail = (error: unknown): void => {
    const code = errorCode(error);
    resolve(fault(LISTEN_FAULTS[code] ?? "HOST_UNAVAILABLE", "ours", `${at.ip}:${at.port} ${code}`));
  };
  // An answer of the system to what was sent, such as "no program listens there", is no end.
  socket.on("error", fail);
  socket.on("message", (bytes, { address, port }) => {
    if (isIp(address) && port > 0) hear(bytes, { ip: address, port });
  });
  try {
    socket.bind({ address: at.ip, port: at.port, exclusive: true }, () => {
      if (sendsToAll) {
        attempt(() => socket.setBroadcast(true));
        attempt(() => socket.setMulticastTTL(1));
        attempt(() => socket.setMulticastInterface(at.ip));
      }
      resolve({
        send: (bytes, to) => void attempt(() => socket.send(bytes, to.port, to.ip, () => {})),
        join(group, ip) {
          try {
            socket.addMembership(group, ip);
            return true;
          } catch (error) {
            return errorCode(error) === "EADDRINUSE";
          }
        },
        close,
      });
    });
  } catch (error) {
    fail(error);
  }
  return promise;
};

/** A network that this machine has an interface in. */
export type Subnet = {
  /** This machine's address there. */
  readonly ip: string;
  readonly range: Range;
  /** What is sent there reaches every machine of it; undefined where there are two machines at most. */
  readonly broadcast: string | undefined;
};

/** Interfaces that are looked at: containers and VPNs make many. */
const SUBNETS_MAX = 32;

/** IPv4, without this machine's own loop. */
export function ownSubnets(): readonly Subnet[] {
  const found: Subnet[] = [];
  for (const { internal, family, address, cidr } of Object.values(networkInterfaces()).flatMap((one) => one ?? [])) {
    const bits = Number(cidr?.split("/")[1]);
    if (internal || family !== "IPv4" || !isIp(address) || !(bits >= 1 && bits <= 32)) continue;
    const range = rangeOf(address, bits);
    found.push({ ip: address, range, broadcast: bits < 31 ? lastOf(range) : undefined });
  }
  return found.slice(0, SUBNETS_MAX);
}
