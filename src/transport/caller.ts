// Questions and answers over one connection: each request gets the reply at its position in the order.
// Invariant: every call ends: with its reply, with the connection's end, or at its deadline.
// Never: carries bulk data; lanes read that themselves.

import { type Fault, fault, isFault } from "../protocol/fault.ts";
import { REPLY_SECONDS_MAX, UPLOAD_BYTES_PER_SECOND_MIN, WAITS_PER_SECOND_MAX } from "../protocol/limits.ts";
import type { PeerRequest, Reply, Root, ServerRequest } from "../protocol/messages.ts";
import { createReader } from "../protocol/reader.ts";
import { decodeReply } from "../protocol/replies.ts";
import { encodeRequest } from "../protocol/requests.ts";
import type { Clock } from "../shared/clock.ts";
import type { Connection, Handlers } from "./connection.ts";

export type Answer = { readonly reply: Reply; readonly payload: Uint8Array };

export type CallOptions = {
  /** Sent right after the request's line. */
  payload?: Uint8Array;
  /**
   * Told of each WAIT that comes before the reply; a WAIT also renews the deadline, of this call and of those behind it.
   * Without it a WAIT is a breach.
   */
  onWait?: (position: number, root?: Root) => void;
  /** Told of the reply at once, before anything behind it is read. */
  onReply?: (reply: Reply) => void;
  /** What the reply's payload may hold at most, where less is known by then than the limit of its verb. */
  payloadBytesMax?: () => number;
  /** Told once, later, of the ARRIVED that a WISH may bring. */
  onArrived?: () => void;
  /** Silence that is allowed before the reply. Default REPLY_SECONDS_MAX. */
  seconds?: number;
};

export type Caller = {
  /** The reply, an ERROR or REJECT among them, or why there is none: PEER_GONE, STALLED, BAD_REPLY, ENCRYPTION_NEEDED. */
  call(request: ServerRequest | PeerRequest, options?: CallOptions): Promise<Answer | Fault>;
  /** The connection is over; why, when it is known. */
  readonly closed: Promise<Fault>;
  readonly connection: Connection;
  /** Ends the connection after what has been sent. */
  end(): void;
};

type Asked = ServerRequest | PeerRequest;
type Pending = {
  verb: Asked["verb"];
  resolve: (answer: Answer | Fault) => void;
  options: CallOptions;
  cancel: () => void;
};

const NOTHING = new Uint8Array(0);

/** The first byte of a TLS alert, with which a TLS listener answers plain bytes. No reply begins with it. */
const TLS_ALERT = 0x15;

/** A payload that comes more slowly does not come. */
const SLOW_BYTES_PER_SECOND = UPLOAD_BYTES_PER_SECOND_MIN / 16; // lanes take their part of the link

/** What `reply` to this call may hold; decodeReply has held it against its verb's limit. Unasked: nothing. */
function mostBytes(call: Pending | undefined, reply: Reply): number {
  const isAsked = reply.verb === (call?.verb === "GET" ? "DATA" : `${call?.verb}_OK`);
  return isAsked ? (call?.options.payloadBytesMax?.() ?? Number.POSITIVE_INFINITY) : -1;
}

/** A caller for `connection`, and the handlers that feed it. */
export function createCaller(connection: Connection, clock: Clock): { caller: Caller; handlers: Handlers } {
  const reader = createReader();
  const pending: Pending[] = [];
  const { promise: closed, resolve: resolveClosed } = Promise.withResolvers<Fault>();
  let over: Fault | undefined;
  let hasHeard = false;
  let awaiting: Reply | undefined; // a reply whose payload is still arriving
  let waits = 0; // since `waitsFrom`
  let waitsFrom = 0;
  const wished = new Map<string, () => void>(); // by name; also what is wished for no more may be on its way

  function stop(why: Fault): void {
    if (over !== undefined) return;
    over = why;
    connection.destroy();
    for (const { resolve, cancel } of pending.splice(0)) {
      cancel();
      resolve(why);
    }
    resolveClosed(why);
  }

  function arm(entry: Pending): void {
    entry.cancel();
    const seconds = entry.options.seconds ?? REPLY_SECONDS_MAX;
    const { queued } = connection;
    const arrived = reader.size;
    entry.cancel = clock.after(seconds * 1000, () => {
      // A long request that is still leaving, however slowly, cannot have been answered yet.
      if (connection.queued < queued) return arm(entry);
      // A long reply may take its time, as long as no source would be called slow that brings it.
      const isComing = awaiting !== undefined && reader.size - arrived >= seconds * SLOW_BYTES_PER_SECOND;
      if (isComing) return arm(entry);
      stop(fault("STALLED", "network", `no reply in ${seconds} s`, true));
    });
  }

  function call(request: ServerRequest | PeerRequest, options: CallOptions = {}): Promise<Answer | Fault> {
    if (over !== undefined) return Promise.resolve(over);
    if (request.verb === "WISH") wished.set(request.name, options.onArrived ?? (() => {}));
    const { promise, resolve } = Promise.withResolvers<Answer | Fault>();
    const entry: Pending = { verb: request.verb, resolve, options, cancel: () => {} };
    pending.push(entry);
    connection.send(encodeRequest(request));
    if (options.payload !== undefined && options.payload.length > 0) connection.send(options.payload);
    arm(entry);
    return promise;
  }

  function takeWait(position: number, root: Root | undefined): void {
    const waiting = pending[0];
    if (waiting === undefined) return;
    const { onWait } = waiting.options;
    // It puts the deadline off, which only a queue may do; and a flood of them is work for `onWait`.
    if (onWait === undefined) return stop(fault("BAD_REPLY", "theirs", "WAIT where there is no queue"));
    if (clock.now() - waitsFrom >= 1000) {
      waitsFrom = clock.now();
      waits = 0;
    }
    waits += 1;
    if (waits > WAITS_PER_SECOND_MAX) return stop(fault("BAD_REPLY", "theirs", "too many WAITs"));
    for (const each of pending) arm(each); // those behind it wait as well
    onWait(position, root);
  }

  function takeArrival(name: string): void {
    const onArrived = wished.get(name);
    wished.delete(name);
    if (onArrived === undefined) stop(fault("BAD_REPLY", "theirs", "ARRIVED without a wish"));
    else onArrived();
  }

  function deliver(reply: Reply, payload: Uint8Array): void {
    if (reply.verb === "ARRIVED") return takeArrival(reply.name);
    if (reply.verb === "WAIT") return takeWait(reply.position, reply.root);
    const entry = pending.shift();
    // An unasked ERROR is the other side's last word: the deadline that we missed, its shutdown.
    if (entry === undefined)
      return stop(fault(reply.verb === "ERROR" ? reply.code : "BAD_REPLY", "theirs", "unasked", true));
    entry.cancel();
    entry.options.onReply?.(reply);
    entry.resolve({ reply, payload });
  }

  function data(chunk: Uint8Array): void {
    if (!hasHeard && chunk[0] === TLS_ALERT) return stop(fault("ENCRYPTION_NEEDED", "network", "a TLS alert"));
    hasHeard = true;
    reader.push(chunk);
    while (over === undefined) {
      if (awaiting !== undefined && "payloadBytes" in awaiting) {
        const payload = reader.exactly(awaiting.payloadBytes);
        if (payload === undefined) return;
        const reply = awaiting;
        awaiting = undefined;
        deliver(reply, payload);
        continue;
      }
      const line = reader.line();
      if (line === undefined) return;
      const reply = isFault(line) ? line : decodeReply(line);
      if (isFault(reply)) return stop(fault("BAD_REPLY", "theirs", reply.detail));
      if (!("payloadBytes" in reply)) deliver(reply, NOTHING);
      else if (reply.payloadBytes <= mostBytes(pending[0], reply)) awaiting = reply;
      else return stop(fault("BAD_REPLY", "theirs", `${reply.verb} with ${reply.payloadBytes} bytes`));
    }
  }

  const gone = () => stop(fault("PEER_GONE", "network", "the connection ended", true));
  return {
    caller: { call, closed, connection, end: () => connection.end() },
    handlers: { data, drain() {}, end: gone, close: gone },
  };
}

/** An answer of the expected verb, or the fault that it or its absence amounts to. */
export function expectReply<V extends Reply["verb"]>(
  answer: Answer | Fault,
  verb: V,
): { reply: Extract<Reply, { verb: V }>; payload: Uint8Array } | Fault {
  if (isFault(answer)) return answer;
  const { reply, payload } = answer;
  if (reply.verb === verb) return { reply: reply as Extract<Reply, { verb: V }>, payload };
  if (reply.verb === "ERROR" || reply.verb === "REJECT") return fault(reply.code, "theirs", reply.text, reply.retry);
  return fault("BAD_REPLY", "theirs", `expected ${verb}, got ${reply.verb}`);
}
