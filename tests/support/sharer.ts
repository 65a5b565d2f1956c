// A peer that shares one file, written apart from ours so that it can lie, break off and count.

import type { Socket } from "bun";
import {
  createPieceHasher,
  HASH_BYTES,
  type Hashed,
  pieceBytesFor,
  pieceCount,
  rootOfLayer,
} from "../../src/content/hashing/merkle.ts";
import type { Address } from "../../src/protocol/address.ts";

/** `size` bytes that differ from piece to piece, and from `seed` to `seed`. */
export function contentOf(size: number, seed = 1): Uint8Array {
  const bytes = new Uint8Array(size);
  let state = seed;
  for (let i = 0; i < size; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[i] = state >>> 24;
  }
  return bytes;
}

export function hashOf(content: Uint8Array): Hashed {
  const size = content.length;
  const pieceBytes = pieceBytesFor(size);
  const count = pieceCount(size, pieceBytes);
  const layer = new Uint8Array(count * HASH_BYTES);
  if (count > 0) {
    const hasher = createPieceHasher(size, pieceBytes);
    for (let i = 0; i < count; i++) {
      hasher.update(content.subarray(i * pieceBytes, (i + 1) * pieceBytes));
      hasher.finish(layer.subarray(i * HASH_BYTES, (i + 1) * HASH_BYTES));
    }
  }
  return { size, pieceBytes, layer, root: rootOfLayer(layer, pieceBytes) };
}

export type Get = { readonly offset: number; readonly length: number };

/** What the sharer says instead of the truth, "" for nothing at all; each is asked when it is needed, so a test may change it on the way. */
export type Script = {
  /** The line that answers DOWNLOAD and FETCH; ACCEPT with the truth when undefined. */
  grant?: (ticket: string) => string | undefined;
  /** Whether the grant says the root; "-" when false. */
  rootKnown?: boolean;
  /** The answer to LAYER: bytes, or an ERROR line. */
  layer?: () => Uint8Array | string;
  /** The bytes that answer a GET, DATA line and all; "die" closes every connection; undefined tells the truth. */
  get?: (get: Get, count: number) => Uint8Array | "die" | undefined;
  /** The answer to LANE. */
  lane?: () => string | "die" | undefined;
};

export type Sharer = {
  readonly address: Address;
  readonly hashed: Hashed;
  /** Every GET so far. */
  readonly gets: readonly Get[];
  readonly asked: readonly string[];
  readonly open: number;
  script: Script;
  /** Ends every connection, with what has been said of them. */
  hangUp(): void;
  close(): void;
};

export function data(offset: number, payload: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.from(`DATA ${offset} ${payload.length}\n`), payload]);
}

type Wire = { rest: string; queue: Uint8Array[]; ending: boolean };

export function startSharer(content: Uint8Array, script: Script = {}, port = 0): Sharer {
  const hashed = hashOf(content);
  const gets: Get[] = [];
  const asked: string[] = [];
  const sockets = new Set<Socket<Wire>>();
  let tickets = 0;

  function flush(socket: Socket<Wire>): void {
    const { queue } = socket.data;
    while (queue.length > 0) {
      const first = queue[0] as Uint8Array;
      const written = socket.write(first);
      if (written < first.length) {
        queue[0] = first.subarray(Math.max(0, written));
        return;
      }
      queue.shift();
    }
  }
  function say(socket: Socket<Wire>, what: string | Uint8Array): void {
    if (what === "") return;
    socket.data.queue.push(typeof what === "string" ? Buffer.from(`${what}\n`) : what);
    flush(socket);
  }
  function die(): void {
    for (const socket of sockets) socket.terminate();
  }

  function answer(socket: Socket<Wire>, line: string): void {
    const [verb, ...words] = line.split(" ");
    const now = sharer.script;
    if (verb === "HELLO") return say(socket, "HELLO 1");
    if (verb === "PING") return say(socket, "PONG");
    if (verb === "DOWNLOAD" || verb === "FETCH") {
      const ticket = (++tickets).toString(16).padStart(32, "0");
      const root = now.rootKnown === false ? "-" : hashed.root;
      return say(socket, now.grant?.(ticket) ?? `ACCEPT ${ticket} ${hashed.size} ${hashed.pieceBytes} ${root}`);
    }
    if (verb === "PIECES") return say(socket, "PIECES_OK 0");
    if (verb === "LAYER") {
      const layer = now.layer?.() ?? hashed.layer;
      if (typeof layer === "string") return say(socket, layer);
      say(socket, `LAYER_OK ${layer.length}`);
      return say(socket, layer);
    }
    if (verb === "LANE") {
      const said = now.lane?.() ?? "LANE_OK";
      return said === "die" ? void socket.terminate() : say(socket, said);
    }
    const get = { offset: Number(words[0]), length: Number(words[1]) };
    gets.push(get);
    const said = now.get?.(get, gets.length);
    if (said === "die") return die();
    say(socket, said ?? data(get.offset, content.subarray(get.offset, get.offset + get.length)));
  }

  const listener = Bun.listen<Wire>({
    hostname: "127.0.0.1",
    port,
    socket: {
      open(socket) {
        socket.data = { rest: "", queue: [], ending: false };
        sockets.add(socket);
      },
      data(socket, chunk) {
        const lines = (socket.data.rest + chunk.toString()).split("\n");
        socket.data.rest = lines.pop() ?? "";
        for (const line of lines) {
          asked.push(line);
          answer(socket, line);
        }
      },
      drain: flush,
      close: (socket) => void sockets.delete(socket),
    },
  });
  const sharer: Sharer = {
    address: { ip: "127.0.0.1", port: listener.port },
    hashed,
    gets,
    asked,
    get open() {
      return sockets.size;
    },
    script,
    hangUp() {
      for (const socket of sockets) socket.end();
    },
    close() {
      listener.stop(true);
      die();
    },
  };
  return sharer;
}
