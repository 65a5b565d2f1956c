// What is done when the system's descriptors are few, or out: a listener rests, and comes back by itself.
// Invariant: the limit is that of a program of its own, which the shell sets.
// Never: takes the descriptors of the program that runs the tests.

import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import {
  DESCRIPTORS_FOR_CONNECTIONS,
  DESCRIPTORS_FOR_DIALS,
  DESCRIPTORS_MAX,
  nextDescriptor,
  SCARCE_FROM,
} from "../../src/transport/descriptors.ts";
import { startProgram } from "../support/program.ts";
import { openRaw, type Raw } from "../support/raw.ts";
import { until } from "../support/until.ts";

const CROWDED = join(import.meta.dir, "../support/crowded.ts");

function start(descriptors: number) {
  const program = startProgram({
    command: ["bash", "-c", `ulimit -n ${descriptors}; exec "$0" "$@"`, process.execPath, CROWDED],
  });
  let seen = 0;
  const said = async (): Promise<string> => {
    const line = await until("a line", () => {
      const lines = program.stdout().split("\n");
      return lines.length > seen + 1 ? lines[seen] : undefined;
    });
    seen++;
    return line;
  };
  const order = async (word: string): Promise<string> => {
    await program.type(word);
    return said();
  };
  return { program, said, order };
}

const greeted = (raw: Raw): Promise<boolean> =>
  raw.line().then(
    () => true,
    () => false,
  );

async function isGreeted(at: { ip: string; port: number }): Promise<boolean> {
  using raw = await openRaw(at).catch(() => undefined);
  return raw !== undefined && (await greeted(raw));
}

describe("a listener", () => {
  test("a listener lets in as many as leave some descriptors over, turns the others away, and has a core for other work", async () => {
    const { program, said, order } = start(64);
    await using _program = program;
    const at = { ip: "127.0.0.1", port: Number(await said()) };
    const raws = await Promise.all(Array.from({ length: 100 }, () => openRaw(at).catch(() => undefined)));
    const answers = await Promise.all(raws.map((raw) => raw !== undefined && greeted(raw)));
    const inside = answers.filter(Boolean).length;
    expect(inside).toBeGreaterThan(30);
    expect(inside).toBeLessThan(56);
    expect(Number(await order("cpu"))).toBeLessThan(200);
    for (const raw of raws) raw?.destroy();
    await until("room for one more", () => isGreeted(at));
  });

  test("a listener that cannot be made says that descriptors are out, and no more of the address", async () => {
    const { program, said, order } = start(64);
    await using _program = program;
    await said();
    expect(await order("listen")).toBe("listening");
    expect(await order("take")).toBe("taken");
    expect(await order("listen")).toBe("NO_DESCRIPTORS");
  });

  test("a listener rests while files have taken every descriptor, and is back when they are given back", async () => {
    const { program, said, order } = start(64);
    await using _program = program;
    const at = { ip: "127.0.0.1", port: Number(await said()) };
    expect(await order("take")).toBe("taken");
    const waiting = await openRaw(at).catch(() => undefined);
    await until("it to rest", async () => {
      return Number(await order("cpu")) < 100;
    });
    expect(await order("give")).toBe("given");
    await until("it to be back", () => isGreeted(at));
    waiting?.destroy();
  });
});

test("the parts of the descriptors leave some over", () => {
  expect(DESCRIPTORS_FOR_CONNECTIONS).toBeLessThan(SCARCE_FROM);
  expect(SCARCE_FROM).toBeLessThan(DESCRIPTORS_MAX);
  expect(DESCRIPTORS_FOR_DIALS).toBeLessThanOrEqual(DESCRIPTORS_MAX - SCARCE_FROM);
  const next = nextDescriptor() as number;
  expect(next).toBeGreaterThan(2);
  expect(nextDescriptor()).toBe(next);
});
