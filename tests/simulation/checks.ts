// What must hold at every moment of every simulation. A breach is a sentence; none is right.

import type { Catalog } from "../../src/catalog/contract.ts";
import { HASH_BYTES, pieceCount } from "../../src/content/hashing/merkle.ts";
import { decodeJournal } from "../../src/download/disk/journal.ts";
import { type Address, formatAddress } from "../../src/protocol/address.ts";
import { type Fault, isFault } from "../../src/protocol/fault.ts";
import { SEND_QUEUE_BYTES_MAX } from "../../src/protocol/limits.ts";
import type { Holder } from "../../src/protocol/messages.ts";
import { type Content, PIECE, same } from "./contents.ts";
import type { SimDisk, SimFile } from "./disk.ts";
import type { Hog } from "./hog.ts";
import type { Lie } from "./liar.ts";
import { type Network, pairOf } from "./network.ts";
import { hashRange, PEER_PORT, type Watch } from "./peer.ts";

export type Checks = {
  readonly watch: Watch;
  readonly breaches: readonly string[];
  breach(what: string): void;
  /** The folder of a peer, at any time. */
  folder(ip: string): void;
  /** Whoever of these is in any list of the catalog. */
  named(catalog: Catalog, ips: readonly string[]): string[];
  /** The catalog names nobody who has been gone for too long. */
  noGhosts(catalog: Catalog, gone: readonly string[]): void;
  /** The catalog names nobody who could not be connected to when it joined, and cannot be since. */
  noneUnreached(catalog: Catalog, walled: readonly string[]): void;
  /** The catalog names exactly those who have each file. */
  agrees(catalog: Catalog, holders: (name: string, ofContent: boolean) => readonly string[]): void;
  memory(): void;
  readonly pieces: number;
};

const HEAD_BYTES = 128;
/** As journal.ts marks a piece that is not synced. */
const WRITTEN = 2 ** 31;
const RECORD_BYTES = 40;

export type World = {
  readonly now: () => number;
  readonly contents: readonly Content[];
  readonly network: Network;
  readonly disk: (ip: string) => SimDisk;
  readonly isHonest: (ip: string) => boolean;
  readonly lies: readonly (Lie | Hog)[];
};

export function createChecks({ now, contents, network, disk, isHonest, lies }: World): Checks {
  const breaches: string[] = [];
  const verified = new Map<string, Set<number>>(); // what a download found on the disk when it began, by peer and name
  let pieces = 0;
  const breach = (what: string): void => {
    if (breaches.length < 20) breaches.push(`at ${(now() / 1000).toFixed(3)} s: ${what}`);
  };
  /** By its name, or by that of a .part which lies beside another's. */
  const contentOf = (name: string): Content =>
    contents.find((content) => name === content.name || name.startsWith(`${content.name}.`)) as Content;
  const hashAt = (layer: Uint8Array, index: number) => layer.subarray(index * HASH_BYTES, (index + 1) * HASH_BYTES);

  /** Whether these bytes of a file, in the program's eyes or on the disk itself, are what a record says. */
  function holds(ip: string, name: string, file: SimFile, index: number, hash: Uint8Array, onDisk: boolean): boolean {
    const { bytes, hashed } = contentOf(name);
    const [from, to] = [index * PIECE, Math.min((index + 1) * PIECE, bytes.length)];
    const held = onDisk ? file.safe.subarray(0, file.safeSize) : file.bytes.subarray(0, file.size);
    if (same(hash, hashAt(hashed.layer, index))) return same(held.subarray(from, to), bytes.subarray(from, to));
    const view = { ...file, bytes: held, size: held.length };
    const journal = disk(ip).file(`${name}.part.journal`);
    const head = journal && decodeJournal(journal.bytes.subarray(0, journal.size))?.head;
    const layer = hashRange(disk(ip), view, head ?? hashed, index, 1); // as a liar's size cuts it
    return !isFault(layer) && same(layer, hash);
  }

  function journaled(ip: string, name: string, bytes: Uint8Array, offset: number): void {
    const part = disk(ip).file(`${name}.part`);
    for (let at = offset === 0 ? HEAD_BYTES : 0; at + RECORD_BYTES <= bytes.length; at += RECORD_BYTES) {
      const number = new DataView(bytes.buffer, bytes.byteOffset + at).getUint32(0, true);
      const index = number % WRITTEN;
      const hash = bytes.subarray(at + 4, at + 4 + HASH_BYTES);
      if (hash.every((byte) => byte === 0)) continue; // takes a record back
      if (number < WRITTEN) pieces++;
      if (index >= pieceCount(contentOf(name).bytes.length, PIECE)) continue; // another size's, by a liar's word
      if (part === undefined || !holds(ip, name, part, index, hash, number < WRITTEN))
        breach(`${ip}: the journal says that piece ${index} of ${name} is there, and it is not`);
    }
  }

  /** A download is about to begin over what the disk holds: whatever was verified must not be fetched again. */
  function began(ip: string, name: string): void {
    const { hashed } = contentOf(name);
    verified.delete(`${ip} ${name}`);
    const part = disk(ip).file(`${name}.part`);
    const journal = disk(ip).file(`${name}.part.journal`);
    if (part === undefined || journal === undefined) return;
    const content = decodeJournal(journal.bytes.subarray(0, journal.size));
    // What a liar's size and no layer stand for was never verified; nor was what no root stands for, where a liar that
    // names none decides what the file is.
    const rootless = content?.head.root === undefined && lies.includes("no root and a wrong layer");
    const known = content?.head.root === hashed.root || (content?.head.size === hashed.size && !rootless);
    const found = [...(known ? (content?.pieces ?? []) : [])]
      .filter(([index, hash]) => same(hash, hashAt(hashed.layer, index)) && holds(ip, name, part, index, hash, false))
      .map(([index]) => index);
    verified.set(`${ip} ${name}`, new Set(found));
  }

  function folder(ip: string): void {
    const allowed = new Set(contents.flatMap(({ name }) => [name, `${name}.part`, `${name}.part.journal`]));
    for (const misuse of disk(ip).misuses) breach(`${ip}: ${misuse}`);
    const isApart = (name: string): boolean => contents.some((content) => name.startsWith(`${content.name}.`));
    const stray = (name: string): boolean =>
      !allowed.has(name) && !(/\.(?:[0-9a-f]{16}|size-\d+)\.part(?:\.journal)?$/.test(name) && isApart(name));
    for (const name of disk(ip).names) if (stray(name)) breach(`${ip}: a file ${name} that nobody asked for`);
    for (const { name, bytes } of contents) {
      const file = disk(ip).file(name);
      if (file === undefined) continue;
      if (!same(file.bytes.subarray(0, file.size), bytes)) breach(`${ip}: ${name} is not its source`);
      if (!same(file.safe.subarray(0, file.safeSize), bytes))
        breach(`${ip}: ${name} has its name before its bytes are safe`);
    }
  }

  /** What lies under the .part's name is another content's, by a liar's word: it was not what was published. */
  function isOther(ip: string, name: string): boolean {
    const journal = disk(ip).file(`${name}.part.journal`);
    const head = journal && decodeJournal(journal.bytes.subarray(0, journal.size))?.head;
    return lies.length > 0 && head?.root !== contentOf(name).hashed.root;
  }

  const watch: Watch = {
    joined() {},
    began,
    ordered(ip, name, index) {
      // Who lies about the size only is found out at the last piece.
      if (lies.includes("wrong size") && (index + 1) * PIECE >= contentOf(name).bytes.length) return;
      if (verified.get(`${ip} ${name}`)?.has(index)) breach(`${ip}: fetches piece ${index} of ${name} again`);
    },
    journaled,
    finished(ip, name) {
      if (disk(ip).file(name) === undefined) breach(`${ip}: ${name} is finished and not there`);
      folder(ip);
      for (const work of [`${name}.part`, `${name}.part.journal`])
        if (disk(ip).file(work) !== undefined && !disk(ip).health.full && !isOther(ip, name))
          breach(`${ip}: ${work} is left behind`);
    },
    lost(ip, source, why: Fault) {
      const blamed = why.fault === "CORRUPT" || why.fault === "BAD_REPLY";
      if (blamed && isHonest(source.ip) && !network.corrupted.has(pairOf(ip, source.ip)))
        breach(`${ip}: blames ${source.ip}, which is honest: ${why.fault} ${why.detail}`);
    },
    changed(ip, name) {
      if (disk(ip).file(name) !== undefined) breach(`${ip}: withdraws ${name}, which nobody has touched`);
    },
    refused(ip, name, why) {
      breach(`${ip}: the server takes no ${name}: ${why.fault} ${why.detail}`);
    },
    misused: (ip, how) => breach(`${ip}: ${how}`),
    progress(ip, bytes, size) {
      if (bytes > size) breach(`${ip}: has ${bytes} of ${size} bytes`);
    },
  };

  const listed = (catalog: Catalog, name: string): string[] =>
    (catalog.search(name) as readonly Address[]).map(formatAddress).sort();

  const named = (catalog: Catalog, ips: readonly string[]): string[] =>
    contents.flatMap(({ name, hashed }) => {
      const held = (catalog.sources(hashed.root) as readonly { address: Address }[]).map((h) =>
        formatAddress(h.address),
      );
      return [...listed(catalog, name), ...held].filter((address) => ips.some((ip) => address.startsWith(`${ip}:`)));
    });

  return {
    watch,
    breaches,
    breach,
    folder,
    named,
    noGhosts(catalog, gone) {
      for (const address of named(catalog, gone)) breach(`the catalog still names ${address}, which is gone`);
    },
    noneUnreached(catalog, walled) {
      for (const address of named(catalog, walled))
        breach(`the catalog names ${address}, to which nobody could connect when it joined`);
    },
    agrees(catalog, holders) {
      for (const { name, hashed } of contents) {
        const at = (ofContent: boolean): string[] =>
          holders(name, ofContent)
            .map((ip) => `${ip}:${PEER_PORT}`)
            .sort();
        const [should, right] = [at(false), at(true)];
        const does = listed(catalog, name);
        if (should.join() !== does.join()) breach(`the catalog lists ${name} at [${does}], it is at [${should}]`);
        // By now everything is hashed, and no download is under way that could offer a part of it.
        const sources = (catalog.sources(hashed.root) as readonly Holder[])
          .map(({ address, complete }) => `${formatAddress(address)}${complete ? "" : " partly"}`)
          .sort();
        if (right.join() !== sources.join())
          breach(`the catalog says that [${sources}] hold the content of ${name}, it is at [${right}]`);
      }
    },
    memory() {
      for (const [ip, bytes] of network.queuedMost)
        if (isHonest(ip) && bytes > SEND_QUEUE_BYTES_MAX) breach(`${ip}: ${bytes} bytes queued on one connection`);
    },
    get pieces() {
      return pieces;
    },
  };
}
