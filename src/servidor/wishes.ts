// Names that peers wish for, and the telling when a peer of this server has one.
// Invariant: a wish is told once and then forgotten, as it is with its connection; what all, one address and one
// connection may wish for is bounded.
// Never: asks the catalog, or takes long at a stretch.

import type { Answered } from "../catalog/answer.ts";
import { type Job, runInSlices, runSoon } from "../catalog/time-slices.ts";
import { createUsage } from "../catalog/usage.ts";
import { type Fault, fault } from "../protocol/fault.ts";
import type { ServerRequest } from "../protocol/messages.ts";
import { encodeReply } from "../protocol/replies.ts";
import type { Limits } from "../protocol/server-limits.ts";
import type { ClientConnection } from "./client-connection.ts";
import type { Names } from "./events.ts";
import type { Metrics } from "./metrics.ts";
import type { ReplyBuffer } from "./reply-buffer.ts";

export type Wishes = {
  /** TOO_MANY beyond the limits; undefined for a request that is about no wish. */
  answer(client: ClientConnection, request: ServerRequest): Answered | Fault | undefined;
  /** This request has succeeded, a JOIN with these names: peers that wish for what it brings are told. */
  hear(client: ClientConnection, request: ServerRequest, names?: Names): void;
  /** A peer of another server has come to have a file of this name. */
  hearName(name: string): void;
  /** Its connection is gone. */
  forget(client: ClientConnection): void;
  readonly count: number;
};

type Options = {
  readonly limits: Pick<Limits, "wishes" | "wishesPerAddress" | "wishesPerConnection">;
  readonly replies: Pick<ReplyBuffer, "flush">;
  readonly metrics: Pick<Metrics, "sent">;
  /** Whether we hear of the peers of all servers, now. */
  readonly hearsAll: () => boolean;
};

/** Names that are looked at without a pause: a fraction of a millisecond. */
const AT_ONCE_MAX = 512;

const TOO_MANY = fault("TOO_MANY", "theirs", "wishes", true);
const UNWISH_OK: Answered = { reply: { verb: "UNWISH_OK" } };

export function createWishes({ limits, replies, metrics, hearsAll }: Options): Wishes {
  const byName = new Map<string, Set<ClientConnection>>();
  const bySession = new Map<ClientConnection, Set<string>>();
  const usage = createUsage();
  const wished = (): Answered => ({ reply: { verb: "WISH_OK", scope: hearsAll() ? "all" : "own" } });

  function add(client: ClientConnection, name: string): Answered | Fault {
    const { ip } = client.connection.remote;
    const names = bySession.get(client) ?? new Set();
    if (names.has(name)) return wished();
    const isFull =
      names.size >= limits.wishesPerConnection ||
      usage.at(ip) >= limits.wishesPerAddress ||
      usage.total >= limits.wishes;
    if (isFull) return TOO_MANY;
    const clients = byName.get(name) ?? new Set();
    bySession.set(client, names.add(name));
    byName.set(name, clients.add(client));
    usage.add(ip, 1);
    return wished();
  }

  function remove(client: ClientConnection, name: string): void {
    const names = bySession.get(client);
    const clients = byName.get(name);
    if (names?.delete(name) !== true) return;
    if (names.size === 0) bySession.delete(client);
    clients?.delete(client);
    if (clients?.size === 0) byName.delete(name);
    usage.add(client.connection.remote.ip, -1);
  }

  function tell({ connection }: ClientConnection, name: string): void {
    replies.flush(); // what is for this connection goes first
    const line = Buffer.from(encodeReply({ verb: "ARRIVED", name }));
    connection.send(line);
    metrics.sent(line.length);
  }

  function* telling(from: ClientConnection | undefined, names: Names): Job<void> {
    for (const name of names) {
      for (const client of byName.get(name) ?? []) {
        if (client === from) continue;
        remove(client, name);
        tell(client, name);
        yield;
      }
      if (names.length > AT_ONCE_MAX) yield;
    }
  }

  return {
    answer(client, request) {
      if (request.verb === "WISH") return add(client, request.name);
      if (request.verb !== "UNWISH") return undefined;
      remove(client, request.name);
      return UNWISH_OK;
    },
    hear(client, request, joined = []) {
      const names = request.verb === "UPDATE" ? [request.share.name] : joined;
      // What is in no list can be found by no other peer.
      if (byName.size === 0 || names.length === 0 || client.standing.listedAt === undefined) return;
      void (names.length <= AT_ONCE_MAX ? runSoon : runInSlices)(telling(client, names));
    },
    hearName(name) {
      if (byName.has(name)) void runSoon(telling(undefined, [name]));
    },
    forget(client) {
      for (const name of [...(bySession.get(client) ?? [])]) remove(client, name);
    },
    get count() {
      return usage.total;
    },
  };
}
