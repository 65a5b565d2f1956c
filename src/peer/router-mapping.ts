// The port at the router that leads to this peer: asked for when others cannot connect, given back at the end.
// Invariant: one mapping at most, for the port where we listen now.
// Never: asks a router where no address is translated between us and the server.

import type { Mapped, PortMapping } from "../port-mapping/port-mapper.ts";
import { type Address, isLoopback } from "../protocol/address.ts";

export type RouterMapping = {
  /** Others cannot connect to us: where we listen, and the address that the server sees. `onMapped` tells what comes of it. */
  want(listening: Address, seen: Address): Promise<void>;
  /** We listen there now: a mapping to another port is taken back. */
  moved(port: number): void;
  close(): Promise<void>;
};

type Options = {
  /** Undefined where the person wants none. */
  readonly open: ((to: Address) => Promise<PortMapping | undefined>) | undefined;
  /** The address by which this machine reaches the server. */
  readonly localIp: () => Promise<string>;
  readonly onMapped: (mapped: Mapped, listening: Address) => void;
  /** No router is asked, or none gave a port. */
  readonly onUnmapped: () => void;
};

export function createRouterMapping({ open, localIp, onMapped, onUnmapped }: Options): RouterMapping {
  let kept: { readonly port: number; readonly opened: Promise<PortMapping | undefined> } | undefined;
  let isClosed = false;

  async function giveBack(): Promise<void> {
    const last = kept;
    kept = undefined;
    await (await last?.opened)?.close();
  }

  return {
    async want(listening, seen) {
      if (open === undefined || isClosed) return onUnmapped();
      const ip = await localIp();
      if (ip === seen.ip || isLoopback(ip)) return onUnmapped();
      if (kept !== undefined && kept.port !== listening.port) await giveBack();
      kept ??= { port: listening.port, opened: open({ ip, port: listening.port }) };
      const ours = kept;
      const mapping = await ours.opened;
      if (kept !== ours) return;
      if (mapping !== undefined) return onMapped(mapping, listening);
      kept = undefined;
      onUnmapped();
    },
    moved(port) {
      if (kept !== undefined && kept.port !== port) void giveBack();
    },
    close() {
      isClosed = true;
      return giveBack();
    },
  };
}
