// A closed loop over raw sockets: each connection keeps so many requests in flight and counts what comes back.
// Invariant: the same loop serves every protocol; the first answer of each connection is compared byte for byte, and
// every later one by its length. Never: parses an answer, so that the generator costs as little as it can.

import type { Socket } from "bun";
import { createHistogram, type Histogram } from "./load-histogram.ts";

export type Target = {
  readonly ip: string;
  readonly port: number;
  /** Sent once, before the loop; its answer is taken away up to its last byte. */
  readonly greeting?: Uint8Array;
  readonly greetingReply?: Uint8Array;
  readonly request: Uint8Array;
  readonly reply: Uint8Array;
};

export type Loop = { readonly answered: number; readonly seconds: number; readonly latency: Histogram };

type State = {
  target: Target;
  batch: Uint8Array;
  got: number;
  greeted: boolean;
  checked: boolean;
  head: Uint8Array;
  sentAt: Float64Array;
  first: number;
};

/** Runs `targets.length` connections with `depth` requests in flight each, `warmup` and then `seconds` long. */
export async function runLoop(
  targets: readonly Target[],
  depth: number,
  warmup: number,
  seconds: number,
): Promise<Loop> {
  const latency = createHistogram();
  let counting = false;
  let stopped = false;
  let answered = 0;
  const failed = Promise.withResolvers<never>();
  const fail = (why: string): void => failed.reject(new Error(why));

  function write(socket: Socket<State>, count: number): void {
    const { batch, target } = socket.data;
    const length = count * target.request.length;
    if (socket.write(length === batch.length ? batch : batch.subarray(0, length)) !== length) fail("short write");
  }

  function data(socket: Socket<State>, chunk: Uint8Array): void {
    const state = socket.data;
    const { target } = state;
    if (!state.greeted) {
      state.head = Buffer.concat([state.head, chunk]);
      const wanted = target.greetingReply?.length ?? 0;
      if (state.head.length < wanted) return;
      if (!Buffer.from(target.greetingReply ?? []).equals(state.head))
        return fail(`greeted: ${Buffer.from(state.head)}`);
      state.greeted = true;
      state.head = new Uint8Array(0);
      ready();
      return;
    }
    if (!state.checked) {
      state.head = Buffer.concat([state.head, chunk]);
      if (state.head.length >= target.reply.length) {
        if (!Buffer.from(target.reply).equals(state.head.subarray(0, target.reply.length)))
          return fail(`answered: ${Buffer.from(state.head).toString()} instead of ${Buffer.from(target.reply)}`);
        state.checked = true;
      }
    }
    state.got += chunk.length;
    const replies = Math.floor(state.got / target.reply.length);
    if (replies === 0) return;
    state.got -= replies * target.reply.length;
    const now = performance.now();
    if (counting) answered += replies;
    for (let i = 0; i < replies; i++) {
      const at = state.first;
      if (counting) latency.add(now - (state.sentAt[at] as number));
      state.sentAt[at] = now;
      state.first = at + 1 === depth ? 0 : at + 1;
    }
    if (!stopped) write(socket, replies);
  }

  let waiting = 0;
  const started = Promise.withResolvers<void>();
  const ready = (): void => {
    if (--waiting === 0) started.resolve();
  };
  const sockets: Socket<State>[] = [];
  for (const target of targets) {
    const batch = Buffer.concat(Array.from({ length: depth }, () => target.request));
    const greeted = target.greeting === undefined;
    if (!greeted) waiting++;
    const socket = await Bun.connect<State>({
      hostname: target.ip,
      port: target.port,
      data: {
        target,
        batch,
        got: 0,
        greeted,
        checked: false,
        head: new Uint8Array(0),
        sentAt: new Float64Array(depth),
        first: 0,
      },
      socket: {
        open: (opened) => void opened.setNoDelay(true),
        data,
        close() {
          if (!stopped) fail("closed");
        },
      },
    });
    if (target.greeting !== undefined) socket.write(target.greeting);
    sockets.push(socket);
  }
  if (waiting > 0) await Promise.race([started.promise, failed.promise]);
  for (const socket of sockets) {
    socket.data.sentAt.fill(performance.now());
    write(socket, depth);
  }
  await Promise.race([Bun.sleep(warmup * 1000), failed.promise]);
  counting = true;
  const from = performance.now();
  await Promise.race([Bun.sleep(seconds * 1000), failed.promise]);
  const took = (performance.now() - from) / 1000;
  stopped = true;
  const done = answered;
  for (const socket of sockets) socket.terminate();
  return { answered: done, seconds: took, latency };
}
