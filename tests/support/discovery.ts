// Networks without a system: datagrams between machines of one test, delivered at once, by multicast and broadcast too.

import type { DiscoveryNet } from "../../src/discovery/discovery-net.ts";
import { type Address, isIn, lastOf, rangeOf } from "../../src/protocol/address.ts";
import { DISCOVERY_GROUP } from "../../src/protocol/discovery.ts";
import { type Fault, fault } from "../../src/protocol/fault.ts";

type Socket = {
  readonly machine: readonly string[];
  readonly at: Address;
  readonly groups: Set<string>;
  hear(bytes: Uint8Array, from: Address): void;
};

export type Networks = {
  /** A machine with these addresses, each in a /24. */
  machine(...ips: string[]): DiscoveryNet & { readonly open: DiscoveryNet["open"] };
  /** A datagram from anywhere, to one address. */
  inject(bytes: Uint8Array, from: Address, to: Address): void;
  /** Every datagram that was sent. */
  readonly sent: readonly { readonly from: string; readonly to: Address; readonly bytes: Uint8Array }[];
  /** Multicast is not passed on. */
  blocksMulticast: boolean;
};

export function createNetworks(): Networks {
  const sockets = new Set<Socket>();
  const sent: { from: string; to: Address; bytes: Uint8Array }[] = [];
  let nextPort = 40_000;
  let nonces = 0;
  const subnetOf = (ip: string) => {
    const range = rangeOf(ip, 24);
    return { ip, range, broadcast: lastOf(range) };
  };

  function deliver(bytes: Uint8Array, from: Address, to: Address): void {
    for (const socket of [...sockets]) {
      if (socket.at.port !== to.port) continue;
      const isOwn = (ip: string) => socket.at.ip === "0.0.0.0" || socket.at.ip === ip;
      const hears = socket.machine.some((ip) => {
        if (to.ip === DISCOVERY_GROUP)
          return !networks.blocksMulticast && socket.groups.has(ip) && isIn(from.ip, rangeOf(ip, 24));
        if (to.ip === subnetOf(ip).broadcast) return socket.at.ip === "0.0.0.0";
        return to.ip === ip && isOwn(ip);
      });
      if (hears) socket.hear(bytes, from);
    }
  }

  const networks: Networks = {
    sent,
    blocksMulticast: false,
    inject: deliver,
    machine(...ips) {
      const localIp = async (ip: string) => ips.find((own) => isIn(ip, rangeOf(own, 24)));
      return {
        subnets: () => ips.map(subnetOf),
        localIp,
        newNonce: () => (++nonces).toString(16).padStart(16, "0"),
        async open({ at, isShared }, hear) {
          const port = at.port || nextPort++;
          const clash = [...sockets].some((one) => one.machine === ips && one.at.port === port && !isShared);
          if (clash) return fault("PORT_IN_USE", "ours");
          const socket: Socket = { machine: ips, at: { ip: at.ip, port }, groups: new Set(), hear };
          sockets.add(socket);
          return {
            send(bytes, to) {
              const from = at.ip === "0.0.0.0" ? ips.find((own) => isIn(to.ip, rangeOf(own, 24))) : at.ip;
              if (from === undefined) return;
              sent.push({ from, to, bytes });
              deliver(bytes, { ip: from, port }, to);
            },
            join(_, ip) {
              socket.groups.add(ip);
              return true;
            },
            close: () => void sockets.delete(socket),
          };
        },
      };
    },
  };
  return networks;
}

/** A machine on which no port can be opened. */
export const closedMachine = (net: DiscoveryNet, why: Fault): DiscoveryNet => ({ ...net, open: async () => why });
