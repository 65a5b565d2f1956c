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
import type { Names } from "./events.ts";
import type { Metrics } from "./metrics.ts";
import type { ReplyBuffer } from "./reply-buffer.ts";
import type { Session } from "./session.ts";

export type Wishes = {
  /** TOO_MANY beyond the limits; undefined for a request that is about no wish. */
  answer(session: Session, request: ServerRequest): Answered | Fault | undefined;
  /** This request has succeeded, a JOIN with these names: peers that wish for what it brings are told. */
  hear(session: Session, request: ServerRequest, names?: Names): void;
  /** Its connection is gone. */
  forget(session: Session): void;
  readonly count: number;
};

type Options = {
  readonly limits: Pick<Limits, "wishes" | "wishesPerAddress" | "wishesPerConnection">;
  readonly replies: Pick<ReplyBuffer, "flush">;
  readonly metrics: Pick<Metrics, "sent">;
  /** Every peer that a SEARCH names joins here. */
  readonly seesAll: boolean;
};

/** Names that are looked at without a pause: a fraction of a millisecond. */
const AT_ONCE_MAX = 512;

const TOO_MANY = fault("TOO_MANY", "theirs", "wishes", true);
const UNWISH_OK: Answered = { reply: { verb: "UNWISH_OK" } };

export function createWishes({ limits, replies, metrics, seesAll }: Options): Wishes {
  const byName = new Map<string, Set<Session>>();
  const bySession = new Map<Session, Set<string>>();
  const usage = createUsage();
  const WISH_OK: Answered = { reply: { verb: "WISH_OK", scope: seesAll ? "all" : "own" } };

  function add(session: Session, name: string): Answered | Fault {
    const { ip } = session.connection.remote;
    const names = bySession.get(session) ?? new Set();
    if (names.has(name)) return WISH_OK;
    const isFull =
      names.size >= limits.wishesPerConnection ||
      usage.at(ip) >= limits.wishesPerAddress ||
      usage.total >= limits.wishes;
    if (isFull) return TOO_MANY;
    const sessions = byName.get(name) ?? new Set();
    bySession.set(session, names.add(name));
    byName.set(name, sessions.add(session));
    usage.add(ip, 1);
    return WISH_OK;
  }

  function remove(session: Session, name: string): void {
    const names = bySession.get(session);
    const sessions = byName.get(name);
    if (names?.delete(name) !== true) return;
    if (names.size === 0) bySession.delete(session);
    sessions?.delete(session);
    if (sessions?.size === 0) byName.delete(name);
    usage.add(session.connection.remote.ip, -1);
  }

  function tell({ connection }: Session, name: string): void {
    replies.flush(); // what is for this connection goes first
    const line = Buffer.from(encodeReply({ verb: "ARRIVED", name }));
    connection.send(line);
    metrics.sent(line.length);
  }

  function* telling(from: Session, names: Names): Job<void> {
    for (const name of names) {
      for (const session of byName.get(name) ?? []) {
        if (session === from) continue;
        remove(session, name);
        tell(session, name);
        yield;
      }
      if (names.length > AT_ONCE_MAX) yield;
    }
  }

  return {
    answer(session, request) {
      if (request.verb === "WISH") return add(session, request.name);
      if (request.verb !== "UNWISH") return undefined;
      remove(session, request.name);
      return UNWISH_OK;
    },
    hear(session, request, joined = []) {
      const names = request.verb === "UPDATE" ? [request.share.name] : joined;
      // What is in no list can be found by no other peer.
      if (byName.size === 0 || names.length === 0 || session.standing.listedAt === undefined) return;
      void (names.length <= AT_ONCE_MAX ? runSoon : runInSlices)(telling(session, names));
    },
    forget(session) {
      for (const name of [...(bySession.get(session) ?? [])]) remove(session, name);
    },
    get count() {
      return usage.total;
    },
  };
}
