// The other end of a conversation, without any of our code in it: a bare socket, lines and bytes.

import type { Socket } from "bun";
import { DEADLINE_SECONDS, until } from "./until.ts";

export type Raw = {
  send(bytes: string | Uint8Array): void;
  /** The next line; throws when the connection ends or DEADLINE_SECONDS pass without one. */
  line(): Promise<string>;
  lines(count: number): Promise<string[]>;
  bytes(count: number): Promise<Uint8Array>;
  /** Everything until the other side says it is done. */
  rest(): Promise<string>;
  /** Waits until the connection is over, or its other half is. */
  over(): Promise<void>;
  readonly isOver: boolean;
  readonly received: number;
  readonly port: number;
  pause(): void;
  resume(): void;
  /** Says "no more" and goes on listening. */
  shutdown(): void;
  destroy(): void;
} & Disposable;

export async function openRaw(address: { ip: string; port: number }): Promise<Raw> {
  const chunks: Uint8Array[] = [];
  let waiting: Uint8Array[] = []; // what the system did not take yet
  let received = 0;
  let over = false;
  const flush = (socket: Socket) => {
    while (waiting.length > 0) {
      const first = waiting[0] as Uint8Array;
      const written = socket.write(first);
      if (written < first.length) {
        waiting[0] = first.subarray(Math.max(0, written));
        return;
      }
      waiting = waiting.slice(1);
    }
  };
  const socket = await Bun.connect({
    hostname: address.ip,
    port: address.port,
    allowHalfOpen: true,
    socket: {
      open: (opened) => void opened.setNoDelay(true),
      data(_, chunk) {
        chunks.push(chunk);
        received += chunk.length;
      },
      drain: flush,
      end: () => {
        over = true;
      },
      close: () => {
        over = true;
      },
    },
  });
  const held = () => {
    const all = Buffer.concat(chunks);
    chunks.length = 0;
    if (all.length > 0) chunks.push(all);
    return all;
  };
  const take = (count: number): Uint8Array => {
    const all = held();
    chunks.length = 0;
    if (all.length > count) chunks.push(all.subarray(count));
    return all.subarray(0, count);
  };
  async function line(): Promise<string> {
    const length = await until(
      "a line",
      () => {
        const at = held().indexOf(10);
        if (at < 0 && over) throw new Error(`the connection ended, holding ${JSON.stringify(held().toString())}`);
        return at < 0 ? undefined : at + 1;
      },
      DEADLINE_SECONDS,
      () => `held: ${JSON.stringify(held().toString().slice(0, 200))}`,
    );
    return Buffer.from(take(length).subarray(0, -1)).toString();
  }
  return {
    send(bytes) {
      waiting.push(typeof bytes === "string" ? Buffer.from(bytes) : bytes);
      flush(socket);
    },
    line,
    async lines(count) {
      const lines: string[] = [];
      while (lines.length < count) lines.push(await line());
      return lines;
    },
    async bytes(count) {
      await until(`${count} bytes`, () => held().length >= count, DEADLINE_SECONDS);
      return take(count);
    },
    async rest() {
      await until("the end", () => over, DEADLINE_SECONDS);
      return held().toString();
    },
    over: () => until("the connection to end", () => over, DEADLINE_SECONDS).then(() => undefined),
    get isOver() {
      return over;
    },
    get received() {
      return received;
    },
    port: socket.localPort,
    pause: () => void socket.pause(),
    resume: () => void socket.resume(),
    shutdown: () => void socket.shutdown(),
    destroy: () => void socket.terminate(),
    [Symbol.dispose]: () => void socket.terminate(),
  };
}
