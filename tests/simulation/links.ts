// Links of a crowd in virtual time: every host has one uplink and one downlink, and bytes pass in chunks without content.
// An uplink serves the flows that wait in turn, as the systems' connections share one; a downlink takes chunks as they come.

import type { Time } from "./time.ts";

export type Host = {
  /** Bytes per second. */
  readonly up: number;
  readonly down: number;
  /** Bytes that have left, and that have come. */
  sent: number;
  received: number;
  alive: boolean;
  /** Flows with bytes to send and room in their window, in turn. */
  readonly turns: Flow[];
  isSending: boolean;
  downFreeAt: number;
};

export type Flow = {
  readonly from: Host;
  readonly to: Host;
  /** Asked for and not sent. */
  queued: number;
  /** Sent and not taken. */
  underWay: number;
  isInTurn: boolean;
  closed: boolean;
  readonly onBytes: (bytes: number) => void;
};

export type Links = {
  host(up: number, down: number): Host;
  flow(from: Host, to: Host, onBytes: (bytes: number) => void): Flow;
  /** So many more bytes are asked for. */
  ask(flow: Flow, bytes: number): void;
  close(flow: Flow): void;
  readonly latencyMs: number;
};

/** What one turn at an uplink is worth, and how much of a flow may be between two programs. */
const CHUNK_BYTES = 64 * 1024;
const WINDOW_BYTES = 512 * 1024;

export function createLinks(time: Time, latencyMs: number): Links {
  function enter(flow: Flow): void {
    if (flow.isInTurn || flow.closed || flow.queued === 0 || flow.underWay >= WINDOW_BYTES) return;
    flow.isInTurn = true;
    flow.from.turns.push(flow);
    serve(flow.from);
  }

  function serve(host: Host): void {
    while (!host.isSending && host.alive) {
      const flow = host.turns.shift();
      if (flow === undefined) return;
      flow.isInTurn = false;
      if (flow.closed) continue;
      const bytes = Math.min(CHUNK_BYTES, flow.queued);
      flow.queued -= bytes;
      flow.underWay += bytes;
      host.isSending = true;
      time.after((bytes / host.up) * 1000, () => {
        host.isSending = false;
        host.sent += bytes;
        carry(flow, bytes);
        enter(flow);
        serve(host);
      });
    }
  }

  function carry(flow: Flow, bytes: number): void {
    const { to } = flow;
    const begins = Math.max(time.now + latencyMs, to.downFreeAt);
    to.downFreeAt = begins + (bytes / to.down) * 1000;
    time.after(to.downFreeAt - time.now, () => {
      flow.underWay -= bytes;
      if (flow.closed || !to.alive) return;
      to.received += bytes;
      flow.onBytes(bytes);
      enter(flow);
    });
  }

  return {
    latencyMs,
    host: (up, down) => ({
      up,
      down,
      sent: 0,
      received: 0,
      alive: true,
      turns: [],
      isSending: false,
      downFreeAt: 0,
    }),
    flow: (from, to, onBytes) => ({
      from,
      to,
      queued: 0,
      underWay: 0,
      isInTurn: false,
      closed: false,
      onBytes,
    }),
    ask(flow, bytes) {
      flow.queued += bytes;
      enter(flow);
    },
    close(flow) {
      flow.closed = true;
    },
  };
}
