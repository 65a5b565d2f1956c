// Our roots and piece layers against those of an independent program: libtorrent 2 makes v2 torrents of the same files.
// Invariant: libtorrent computes; this test only reads what stands in the torrent that it made.
// Never: passes where libtorrent is missing on CI. Elsewhere: apt-get install python3-libtorrent.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createHasher, type Hasher } from "../../src/content/hashing/hasher.ts";
import { pieceBytesFor } from "../../src/content/hashing/merkle.ts";
import { isFault } from "../../src/protocol/fault.ts";
import { BLOCK_BYTES, PIECE_BYTES_MIN as PIECE } from "../../src/protocol/limits.ts";

// Debian's own Python: the package is not there for others.
const PYTHON = "/usr/bin/python3";
const MAKE_TORRENT = `
import libtorrent, os, sys
path, piece = sys.argv[1], int(sys.argv[2])
files = libtorrent.file_storage()
libtorrent.add_files(files, path)
maker = libtorrent.create_torrent(files, piece, libtorrent.create_torrent.v2_only)
libtorrent.set_piece_hashes(maker, os.path.dirname(path))
torrent = maker.generate()
assert torrent[b"info"][b"piece length"] == piece
root = torrent[b"info"][b"file tree"][os.path.basename(path).encode()][b""][b"pieces root"]
print(root.hex(), torrent[b"piece layers"].get(root, root).hex())
`;

const present =
  fs.existsSync(PYTHON) && Bun.spawnSync([PYTHON, "-c", "import libtorrent"], { stderr: "ignore" }).success;
const skipped = !present && process.env.CI !== "true";

const folder = fs.mkdtempSync(join(tmpdir(), "napster-libtorrent-"));
let hasher: Hasher;
beforeAll(() => {
  hasher = createHasher();
});
afterAll(() => {
  hasher.close();
  fs.rmSync(folder, { recursive: true, force: true });
});

/** A file of `size` with random bytes at its start, middle and end, and whatever lies between them sparse. */
function make(size: number): string {
  const path = join(folder, `${size}.mp4`);
  const fd = fs.openSync(path, "w");
  fs.ftruncateSync(fd, size);
  const bytes = crypto.getRandomValues(new Uint8Array(65_536));
  const step = Math.max(bytes.length, Math.floor(size / 64));
  for (let at = 0; at < size; at += step) fs.writeSync(fd, bytes, 0, Math.min(bytes.length, size - at), at);
  fs.writeSync(fd, bytes, 0, 1, size - 1);
  fs.closeSync(fd);
  return path;
}

async function sameAsLibtorrent(size: number): Promise<void> {
  const path = make(size);
  const ours = await hasher.hash(path);
  if (isFault(ours)) throw new Error(ours.detail);
  const theirs = Bun.spawnSync([PYTHON, "-c", MAKE_TORRENT, path, String(pieceBytesFor(size))]);
  fs.unlinkSync(path);
  expect(theirs.stderr.toString()).toBe("");
  const [root, layer] = theirs.stdout.toString().trim().split(" ");
  expect(ours.root).toBe(root as string);
  expect(ours.layer.toHex()).toBe(layer as string);
}

describe("libtorrent gives the same root and piece layer", () => {
  const GIB = 1024 ** 3;
  const blocks = [1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 3 * BLOCK_BYTES + 1];
  const pieces = [PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 5, 1000 * PIECE - 7];
  for (const size of [...blocks, ...pieces]) {
    test.skipIf(skipped)(`libtorrent gives the same root and layer to ${size} bytes`, () => sameAsLibtorrent(size));
  }
  test.skipIf(skipped)("libtorrent gives the same root and layer to 1 GiB", () => sameAsLibtorrent(GIB), 30_000);
  test.skipIf(skipped)(
    "libtorrent gives the same root and layer to more than 4 GiB",
    () => sameAsLibtorrent(4 * GIB + 12_345),
    60_000,
  );
});
