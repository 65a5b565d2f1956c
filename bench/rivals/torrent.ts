// A BitTorrent v1 .torrent of one file, and a tracker that knows one torrent: what the BitTorrent rivals need to meet.
// Invariant: the tracker answers at once and names everyone but the asker.
// Never: reaches beyond loopback.

import * as fs from "node:fs";
import { join } from "node:path";
import { MIB } from "../stats.ts";
import type { Cargo } from "./rival.ts";

/** As mktorrent would choose for a file of a few GiB. */
const PIECE_BYTES = 2 * MIB;
const ANNOUNCE_SECONDS = 5;

type Bencodable = string | number | Uint8Array | Bencodable[] | { [key: string]: Bencodable };

function bencode(value: Bencodable): Buffer {
  if (typeof value === "number") return Buffer.from(`i${value}e`);
  if (typeof value === "string") return bencode(Buffer.from(value));
  if (value instanceof Uint8Array) return Buffer.concat([Buffer.from(`${value.length}:`), value]);
  if (Array.isArray(value)) return Buffer.concat([Buffer.from("l"), ...value.map(bencode), Buffer.from("e")]);
  const keys = Object.keys(value).sort();
  const pairs = keys.flatMap((key) => [bencode(key), bencode(value[key] as Bencodable)]);
  return Buffer.concat([Buffer.from("d"), ...pairs, Buffer.from("e")]);
}

/** Writes `cargo`'s .torrent into `folder`; its path. */
export function writeTorrent({ folder, name, bytes }: Cargo, into: string, announce: string): string {
  const fd = fs.openSync(join(folder, name), "r");
  const buffer = new Uint8Array(PIECE_BYTES);
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < bytes; at += PIECE_BYTES) {
    const read = fs.readSync(fd, buffer, 0, PIECE_BYTES, at);
    pieces.push(new Bun.CryptoHasher("sha1").update(buffer.subarray(0, read)).digest());
  }
  fs.closeSync(fd);
  const info = { length: bytes, name, "piece length": PIECE_BYTES, pieces: Buffer.concat(pieces) };
  const path = join(into, `${name}.torrent`);
  fs.writeFileSync(path, bencode({ announce, info }));
  return path;
}

export type Tracker = {
  readonly announce: string;
  /** Resolves once somebody has announced that it has everything. */
  readonly seeded: Promise<void>;
  close(): void;
};

export function startTracker(): Tracker {
  const ports = new Set<number>();
  const { promise: seeded, resolve } = Promise.withResolvers<void>();
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch({ url }) {
      const { searchParams: asked } = new URL(url);
      const port = Number(asked.get("port"));
      if (asked.get("event") === "stopped") ports.delete(port);
      else ports.add(port);
      if (asked.get("left") === "0") resolve();
      const others = [...ports].filter((other) => other !== port);
      const peers = Buffer.concat(others.map((other) => Buffer.from([127, 0, 0, 1, other >> 8, other & 255])));
      return new Response(bencode({ interval: ANNOUNCE_SECONDS, "min interval": ANNOUNCE_SECONDS, peers }));
    },
  });
  return { announce: `http://127.0.0.1:${server.port}/announce`, seeded, close: () => void server.stop(true) };
}
