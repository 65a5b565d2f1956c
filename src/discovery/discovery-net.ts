// What discovery has of the machine: its datagrams, its networks, its routes and chance.
// Invariant: server and peer reach the network through these alone, so that a test can be the network.
// Never: holds state or logic of its own.

import { type OpenDatagrams, openDatagrams, ownSubnets, type Subnet } from "../transport/datagrams.ts";
import { localIp } from "../transport/route.ts";

export type DiscoveryNet = {
  readonly open: OpenDatagrams;
  readonly subnets: () => readonly Subnet[];
  /** The address of this machine from which what is sent to `ip` leaves. */
  readonly localIp: (ip: string) => Promise<string | undefined>;
  /** 16 hexadecimal digits that cannot be guessed. */
  readonly newNonce: () => string;
};

export const SYSTEM_NET: DiscoveryNet = {
  open: openDatagrams,
  subnets: ownSubnets,
  localIp,
  newNonce: () => crypto.getRandomValues(new Uint8Array(8)).toHex(),
};
