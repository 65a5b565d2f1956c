import { expect, test } from "bun:test";
import { execFileSync } from "node:child_process";
import { closeSync, existsSync, openSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createQueue, OUTPUT_QUEUE_BYTES_MAX } from "../../src/console/terminal/output.ts";
import { temporaryFolder } from "../support/folders.ts";
import { until } from "../support/until.ts";

type Three = [string, string, string];

const failure = (code: string): Error => Object.assign(new Error(code), { code });

/** A system that takes what the script says: a count, or a failure's code; everything once the script has ended. */
function scripted(script: (number | string)[]) {
  const written = new Map<number, string>();
  const write = async (fd: number, bytes: Uint8Array): Promise<number> => {
    const step = script.shift() ?? bytes.length;
    if (typeof step === "string") throw failure(step);
    const part = bytes.subarray(0, step);
    written.set(fd, (written.get(fd) ?? "") + Buffer.from(part).toString());
    return part.length;
  };
  return { write, written };
}

test("a write that was taken in part, or not at all, goes on where it stopped", async () => {
  const { write, written } = scripted([3, "EAGAIN", 1, "EINTR", 0, 2]);
  const queue = createQueue(write);
  queue.push(1, "abcdefghij");
  await queue.below(0);
  expect(written.get(1)).toBe("abcdefghij");
});

test("order holds across both outputs", async () => {
  const order: string[] = [];
  const queue = createQueue(async (fd, bytes) => {
    order.push(`${fd}:${Buffer.from(bytes)}`);
    return bytes.length;
  });
  queue.push(1, "a");
  queue.push(1, "b");
  queue.push(2, "c");
  queue.push(1, "d");
  await queue.below(0);
  expect(order.join(" ")).toBe("1:a 1:b 2:c 1:d");
});

test("a reader that is gone costs its own lines only", async () => {
  const { write, written } = scripted(["EPIPE"]);
  const queue = createQueue(write);
  queue.push(1, "x");
  queue.push(2, "y");
  queue.push(1, "z");
  await queue.below(0);
  queue.push(1, "late");
  await queue.below(0);
  expect([...written]).toEqual([[2, "y"]]);
});

test("what waits is bounded, and what comes on top of it is dropped whole", async () => {
  const reader = Promise.withResolvers<void>();
  let bytes = 0;
  const queue = createQueue(async (_fd, part) => {
    await reader.promise;
    bytes += part.length;
    return part.length;
  });
  const half = "x".repeat(OUTPUT_QUEUE_BYTES_MAX / 2);
  for (let index = 0; index < 5; index++) queue.push(1, half);
  reader.resolve();
  await queue.below(0);
  expect(bytes).toBe(OUTPUT_QUEUE_BYTES_MAX);
});

// Each is real and full: a socket pair, which is what Bun.spawn gives, and a pipe.
const FLOOD = `
  import { createOutput } from ${JSON.stringify(join(import.meta.dir, "../../src/console/terminal/output.ts"))};
  import { promises, writeFileSync } from "node:fs";
  const output = createOutput({ ordered: false });
  output.out("x".repeat(4_000_000));
  output.err("y".repeat(4_000_000));
  for (let index = 0; index < 8; index++) await promises.readFile(import.meta.path);
  writeFileSync(process.argv[2], "alive");
  await output.flush(100);
  process.exit(0);
`;

test.skipIf(process.platform === "win32").each(["socket", "pipe"])(
  "a %s that nobody reads stops neither the event loop nor the disk",
  async (kind) => {
    using folder = temporaryFolder("output");
    const [script, mark, pipe] = ["flood.ts", "mark", "pipe"].map((name) => join(folder.path, name)) as Three;
    writeFileSync(script, FLOOD);
    execFileSync("mkfifo", [pipe]);
    const end = openSync(pipe, "r+");
    const output = kind === "pipe" ? end : "pipe";
    await using child = Bun.spawn([process.execPath, script, mark], { stdout: output, stderr: output });
    await until("the program to read files with both outputs full", () => existsSync(mark), 10);
    child.kill();
    await child.exited;
    closeSync(end);
  },
);

test("a line in parts that is longer than the queue is written whole beside short lines, and none of them is dropped", async () => {
  let bytes = 0;
  const queue = createQueue(async (_fd, part) => {
    bytes += part.length;
    return part.length;
  });
  const part = "x".repeat(1024 * 1024);
  function* parts(): Generator<string, void> {
    for (let made = 0; made < 48; made++) yield part;
  }
  queue.push(1, "before\n");
  queue.pushParts(1, 48 * part.length + 1, parts());
  queue.push(1, "behind\n");
  await queue.below(0);
  expect(bytes).toBe(48 * part.length + "before\n\nbehind\n".length);
});

test("a line in parts is made as it is written, whole, in its turn, and is given up with its reader", async () => {
  const { write, written } = scripted([]);
  const queue = createQueue(write);
  let made = 0;
  function* parts(): Generator<string, void> {
    for (; made < 1000; made++) yield `${made} `;
  }
  queue.push(1, "before\n");
  queue.pushParts(1, 4000, parts());
  queue.push(1, "behind\n");
  expect(made).toBeLessThan(2);
  await queue.below(0);
  const numbers = Array.from({ length: 1000 }, (_, i) => `${i} `).join("");
  expect(written.get(1)).toBe(`before\n${numbers}\nbehind\n`);

  const gone = createQueue(scripted([3, "EPIPE"]).write);
  gone.push(1, "abcdef");
  made = 0;
  gone.pushParts(1, 4000, parts());
  await gone.below(0);
  expect(made).toBeLessThan(2);
});

test("a line in parts counts as at most half the queue until it is written, and is dropped whole where there is no room", async () => {
  const { promise: read, resolve: readNow } = Promise.withResolvers<void>();
  const written: string[] = [];
  const queue = createQueue(async (_, bytes) => {
    await read;
    written.push(Buffer.from(bytes).toString());
    return bytes.length;
  });
  queue.pushParts(1, 2 * OUTPUT_QUEUE_BYTES_MAX, ["first"].values());
  queue.pushParts(1, OUTPUT_QUEUE_BYTES_MAX, ["second"].values());
  queue.pushParts(1, OUTPUT_QUEUE_BYTES_MAX, ["third"].values());
  queue.push(1, "fourth\n");
  readNow();
  await queue.below(0);
  expect(written.join("")).toBe("first\nsecond\n");
  queue.push(1, "fifth\n");
  await queue.below(0);
  expect(written.join("")).toBe("first\nsecond\nfifth\n");
});
