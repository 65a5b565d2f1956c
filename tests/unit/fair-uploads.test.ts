// Who is served when more ask than there is room for: slots, queue and rate among addresses, downloads and connections.
// Invariant: an address that asks for much never keeps another from its part, and a slot is kept by bytes that are taken.
// Never: opens a socket or waits for time; the other ends read what the test lets them.

import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { fault } from "../../src/protocol/fault.ts";
import {
  QUEUE_MAX,
  SEND_STEP_BYTES_MAX,
  TURN_SECONDS_MAX,
  TURN_SECONDS_MIN,
  UPLOAD_BYTES_PER_SECOND_MIN,
  UPLOAD_RATE_SECONDS,
} from "../../src/protocol/limits.ts";
import { createFairRate } from "../../src/upload/fair-rate.ts";
import { createMinRate } from "../../src/upload/min-rate.ts";
import { createShareIndex, type MaybeLater, type ReadableFile } from "../../src/upload/share-index.ts";
import { createSlots } from "../../src/upload/slots.ts";
import { createUploadServer, type UploadPolicy, type UploadsEvent } from "../../src/upload/upload-server.ts";
import { createVirtualClock, turn } from "../support/clock.ts";
import { createFarEnd, type FarEnd } from "../support/net.ts";

setDefaultTimeout(60_000);

const SIZE = 1e12;
const MIB = 1024 * 1024;
const LAYER = new Uint8Array(64 * 1024);
const NAMES = ["a.mp4", "slow.mp4"];

type Disk = { read?: (into: Uint8Array) => MaybeLater<number>; open?: () => MaybeLater<ReturnType<typeof fault>> };

/** A peer that shares two files of a size that is never used up; what is asked of slow.mp4 the test's disk answers. */
function share(policy: Partial<UploadPolicy> = {}, disk: Disk = {}) {
  const clock = createVirtualClock();
  const events: UploadsEvent[] = [];
  const index = createShareIndex<string>(async (name): Promise<ReadableFile | ReturnType<typeof fault>> => {
    const isSlow = name === "slow.mp4";
    if (isSlow && disk.open !== undefined) return disk.open();
    return {
      read: (into) => (isSlow ? disk.read?.(into) : undefined) ?? into.length,
      look: () => ({ unchanged: true, named: true }),
      close() {},
    };
  });
  for (const name of NAMES) {
    index.put({
      share: { name, size: SIZE, root: "c".repeat(64) },
      pieceBytes: 4 * MIB,
      layer: LAYER,
      listed: name,
    });
  }
  let tickets = 0;
  const uploads = createUploadServer({
    shares: index,
    clock,
    newTicket: () => (++tickets).toString(16).padStart(32, "0"),
    policy: { maxUploads: 8, rejectAll: false, maxUploadRate: undefined, ...policy },
    onEvent: (event) => events.push(event),
  });
  const come = (ip: string): FarEnd => createFarEnd({ ip, port: 1 }, (connection) => uploads.accept(connection))[1];
  async function ask(ip: string, line: string): Promise<FarEnd> {
    const far = come(ip);
    far.say(`${line}\n`);
    await turn();
    return far;
  }
  return { clock, events, uploads, come, ask };
}

const download = (name = "a.mp4") => `DOWNLOAD ${name}`;
const ticketOf = (far: FarEnd) => /ACCEPT (\w+)/.exec(far.sent)?.[1] ?? "";
const isIn = (far: FarEnd | undefined) => far?.sent.includes("ACCEPT ") ?? false;
const all = <T>(count: number, make: (i: number) => Promise<T>): Promise<T[]> =>
  Promise.all(Array.from({ length: count }, (_, i) => make(i)));

describe("slots and queue", () => {
  for (const slots of [1, 2, 8]) {
    for (const asked of [slots + QUEUE_MAX, 300]) {
      test(`an address that asks ${asked} times for ${slots} slots keeps no other from a place, and it is served next`, async () => {
        const { ask } = share({ maxUploads: slots });
        const crowd = await all(asked, () => ask("10.0.0.1", download()));
        expect(crowd.filter(isIn).length).toBe(slots);
        const newcomer = await ask("10.0.0.2", download());
        expect(newcomer.sent).toStartWith("WAIT 1 ");
        crowd.find(isIn)?.close();
        await turn();
        expect(isIn(newcomer)).toBe(true);
      });
    }
  }

  test("slots that one address holds for good are shared with a newcomer's within one turn", async () => {
    const { clock, ask } = share();
    const crowd = await all(108, () => ask("10.0.0.1", download()));
    const newcomers = await all(4, (i) => ask(`10.0.1.${i}`, download()));
    const holders = crowd.filter(isIn);
    const takes = fetching(holders);
    for (let second = 0; second < TURN_SECONDS_MIN + 8; second++) {
      await clock.advance(1000);
      takes();
    }
    expect(newcomers.map(isIn)).toEqual([true, true, true, true]);
    // As many each as there are: the one with more gives way until nobody has two fewer.
    expect(holders.filter(({ state }) => state === "open").length).toBe(4);
  });

  for (const [what, asked, seconds] of [
    ["an address that asks for twenty", 20, TURN_SECONDS_MIN],
    ["one download", 1, TURN_SECONDS_MAX],
  ] as const) {
    test(`a single slot that ${what} holds comes to another address after ${seconds} s, however much is taken`, async () => {
      const { clock, ask } = share({ maxUploads: 1 });
      const [holder] = await all(asked, () => ask("10.0.0.1", download()));
      const newcomer = await ask("10.0.0.2", download());
      const takes = fetching([holder as FarEnd]);
      for (let second = 0; second < seconds + 2; second++) {
        expect(isIn(newcomer)).toBe(second >= seconds);
        await clock.advance(1000);
        takes();
      }
      expect(holder?.state).not.toBe("open");
    });
  }

  test("slots of one address alone are never taken away for another of its own", async () => {
    const { clock, ask } = share({ maxUploads: 1 });
    const [holder] = await all(20, () => ask("10.0.0.1", download()));
    const takes = fetching([holder as FarEnd]);
    for (let second = 0; second < 20 * TURN_SECONDS_MIN; second++) {
      await clock.advance(1000);
      takes();
    }
    expect(holder?.state).toBe("open");
  });

  test("a full queue makes room for each address at the cost of the longest, which is told BUSY", async () => {
    const { ask } = share({ maxUploads: 1 });
    await ask("10.0.0.9", download());
    const crowd = await all(QUEUE_MAX, () => ask("10.0.0.1", download()));
    const others = await all(QUEUE_MAX + 20, (i) => ask(`10.0.1.${i}`, download()));
    for (const far of others) expect(far.sent).toStartWith("WAIT ");
    await turn();
    const busy = crowd.filter((far) => far.sent.includes("REJECT BUSY retry"));
    expect(busy.length).toBe(QUEUE_MAX - 1);
    // And who has a place already cannot take another one by it.
    expect((await ask("10.0.1.3", download())).sent).toStartWith("REJECT BUSY retry");
  });

  test("positions in the queue are told as they are served: one of each address, round after round", () => {
    const slots = createSlots(1, 100, () => 0);
    const served: string[] = [];
    const claims = ["x", "a", "a", "a", "b", "c", "b"].map((peer, i) =>
      slots.enter(peer, { onIn: () => served.push(`${peer}${i}`), onOut() {} }),
    );
    expect(claims.map((claim) => claim?.position())).toEqual([0, 1, 4, 6, 2, 3, 5]);
    for (const claim of claims) claim?.leave();
    expect(slots.taken).toBe(0);
  });

  test("another number of slots lets in who waits, and puts out none that is in", () => {
    const slots = createSlots(1, 100, () => 0);
    const claims = ["a", "b", "c", "d"].map((peer) => slots.enter(peer, { onIn() {}, onOut() {} }));
    slots.resize(3);
    expect(claims.map((claim) => claim?.position())).toEqual([0, 0, 0, 1]);
    slots.resize(1);
    expect(slots.taken).toBe(3);
    for (const claim of claims.slice(0, 2)) claim?.leave();
    expect(claims[3]?.position()).toBe(1);
    claims[2]?.leave();
    expect(claims[3]?.position()).toBe(0);
  });
});

/** Each asks for 8 KiB and takes them at each call, as one that keeps to the rules does. */
const fetching = (fars: readonly FarEnd[]) => (): void => {
  for (const far of fars) {
    far.take();
    far.say("GET 0 8192\n");
  }
};

describe("a slot", () => {
  const holds = async (line: string, everySeconds: number, isWanted: boolean) => {
    const { clock, ask } = share({ maxUploads: 1 });
    const hog = await ask("10.0.0.1", download());
    if (isWanted) await ask("10.0.0.1", download());
    for (let second = 0; second < 600; second++) {
      if (hog.state !== "open") return second;
      if (second % everySeconds === 0) hog.say(line);
      await clock.advance(1000);
    }
    return "kept";
  };
  const tiny: readonly (readonly [string, string, number])[] = [
    ["GET of a byte every 40 s", "GET 0 1\n", 40],
    ["GET of a byte every second", "GET 0 1\n", 1],
    ["2 KB/s", "GET 0 2048\n", 1],
    ["LAYER every second", "LAYER\n", 1],
    ["PIECES twenty times a second", "PIECES\n".repeat(20), 1],
    ["PING a thousand times a second", "PING\n".repeat(1000), 1],
    ["64 KiB every 40 s", "GET 0 65536\n", 40],
  ];
  for (const [what, line, seconds] of tiny) {
    test(`a slot is not kept by ${what} while others wait`, async () => {
      const lost = await holds(line, seconds, true);
      expect(lost).toBeGreaterThanOrEqual(UPLOAD_RATE_SECONDS);
      expect(lost).toBeLessThanOrEqual(2 * UPLOAD_RATE_SECONDS);
    });
  }

  test("a slot is kept by a GET now and then while nobody waits", async () => {
    expect(await holds("GET 0 1\n", 40, false)).toBe("kept");
  });

  test("a slot is kept at the least rate, steady or in bursts of ten seconds' worth, while others wait", async () => {
    expect(await holds(`GET 0 ${UPLOAD_BYTES_PER_SECOND_MIN}\n`, 1, true)).toBe("kept");
    expect(await holds(`GET 0 ${10 * UPLOAD_BYTES_PER_SECOND_MIN}\n`, 10, true)).toBe("kept");
  });

  for (const step of [0, 128 * 1024, 400 * 1024, SEND_STEP_BYTES_MAX]) {
    for (const rate of [0, 1000, 3000, 4096, 5000, 20_000, 60_000]) {
      const keeps = rate >= UPLOAD_BYTES_PER_SECOND_MIN;
      test(`a slot of one that takes ${rate} bytes/s, seen in steps of ${step}, is ${keeps ? "kept" : "lost"}`, () => {
        const pace = createMinRate(0, () => Number.POSITIVE_INFINITY);
        const lost = Array.from({ length: 3600 }, (_, i) => {
          const taken = (i + 1) * rate;
          return pace.tooSlow((i + 1) * 1000, taken - (taken % Math.max(1, step)), "theirs", step);
        }).indexOf(true);
        if (keeps) expect(lost).toBe(-1);
        else {
          const allowed = (step + 4 * UPLOAD_BYTES_PER_SECOND_MIN) / (UPLOAD_BYTES_PER_SECOND_MIN - rate);
          expect(lost).toBeGreaterThanOrEqual(UPLOAD_RATE_SECONDS - 1);
          expect(lost).toBeLessThanOrEqual(Math.max(UPLOAD_RATE_SECONDS, 2 * allowed));
        }
      });
    }
  }

  test("a slot is judged by what was read, not by what the system took: 4 MB at once, then 5 KB/s in steps of 1 MB", async () => {
    for (const [rate, keeps] of [
      [5000, true],
      [40_000, true],
      [500, false],
    ] as const) {
      const { clock, ask } = share({ maxUploads: 1 });
      const far = await ask("10.0.0.1", download());
      await ask("10.0.0.2", download());
      far.room = 4 * MIB;
      far.taken = { bytes: 0, acknowledged: 0, step: 128 * 1024 };
      far.say(`GET 0 ${4 * MIB}\n`.repeat(4));
      let read = 0;
      for (let second = 1; second <= 300 && far.state === "open"; second++) {
        await clock.advance(1000);
        far.taken = { bytes: second * rate, acknowledged: 64 * 1024 + second * rate, step: 128 * 1024 };
        for (; second * rate - read >= MIB; read += MIB) if (far.read(MIB)) far.drain();
      }
      expect(far.state === "open").toBe(keeps);
    }
  });

  test("a slot is not lost for what our own disk does not give", async () => {
    const { clock, ask } = share({ maxUploads: 1 }, { read: () => new Promise(() => {}) });
    const reader = await ask("10.0.0.1", download("slow.mp4"));
    await ask("10.0.0.1", download());
    reader.say("GET 0 1000000\n");
    await clock.advance(200_000);
    expect(reader.state).toBe("open");
  });
});

describe("a disk that does not answer", () => {
  test("a disk that does not answer holds up nobody but its own readers: PROBE, other files, WAIT and new downloads go on", async () => {
    let answer: (count: number) => void = () => {};
    const { clock, ask } = share(
      { maxUploads: 2 },
      {
        read: () => new Promise((resolve) => (answer = resolve)),
      },
    );
    const reader = await ask("10.0.0.1", download("slow.mp4"));
    reader.say("GET 0 1000\n");
    await turn();
    const before = reader.take();
    expect(before).toEndWith("DATA 0 1000\n");
    expect((await ask("10.0.0.2", `PROBE ${"0".repeat(32)}`)).sent).toStartWith("PROBE_OK ");
    const other = await ask("10.0.0.2", download());
    other.say("GET 0 5\n");
    await turn();
    expect(other.sent).toEndWith("DATA 0 5\n\0\0\0\0\0");
    expect((await ask("10.0.0.3", download())).sent).toStartWith("WAIT 1 ");
    await clock.advance(2000);
    answer(1000);
    await turn();
    expect(reader.sentBytes.length).toBe(1000);
  });

  test("a disk that does not answer gives nothing to one that left meanwhile", async () => {
    let answer: (count: number) => void = () => {};
    const { ask, events } = share({}, { read: () => new Promise((resolve) => (answer = resolve)) });
    const reader = await ask("10.0.0.1", download("slow.mp4"));
    reader.say("GET 0 1000\n");
    await turn();
    reader.close();
    const before = reader.sent;
    answer(1000);
    await turn();
    expect(reader.sent).toBe(before);
    expect(events.map(({ type }) => type)).toEqual(["uploaded"]);
  });

  for (const code of ["EMFILE", "EBUSY", "EACCES", "EIO"]) {
    test(`a disk that says ${code} at the open withdraws nothing: the other side is asked to come again`, async () => {
      const { ask, events } = share({}, { open: () => fault("DISK_ERROR", "disk", `open: ${code}`, true) });
      const far = await ask("10.0.0.1", download("slow.mp4"));
      await turn();
      expect(far.sent).toBe("REJECT BUSY retry the file cannot be read just now\n");
      expect(events).toEqual([]);
      expect(isIn(await ask("10.0.0.1", download()))).toBe(true);
    });
  }

  test("a disk that fails in the middle of a GET breaks it off, and withdraws nothing", async () => {
    const broken = fault("DISK_ERROR", "disk", "read: EIO");
    const { ask, events } = share({}, { read: () => broken as unknown as number });
    const far = await ask("10.0.0.1", download("slow.mp4"));
    far.say("GET 0 1000\n");
    await turn();
    expect(far.state).toBe("closed");
    expect(events.map(({ type }) => type)).toEqual(["uploaded"]);
  });

  test("a disk that says that the file is gone withdraws it", async () => {
    const { ask, events } = share({}, { open: () => fault("FILE_MISSING", "disk", "open: ENOENT") });
    const far = await ask("10.0.0.1", download("slow.mp4"));
    await turn();
    expect(far.sent).toStartWith("REJECT CHANGED final ");
    expect(events).toEqual([{ type: "changed", name: "slow.mp4" }]);
  });
});

describe("the upload rate", () => {
  /** Bytes that each of `payers` gets in 10 s of the rate, each asking again as soon as it was given something. */
  async function dealt(rate: number, paths: readonly (readonly [string, string])[]): Promise<number[]> {
    const clock = createVirtualClock();
    const rates = createFairRate(rate, clock);
    const got = paths.map(() => 0);
    paths.forEach(async ([ip, name], i) => {
      const payer = rates.payer(ip);
      payer.joins(name);
      for (;;) got[i] = (got[i] as number) + (await payer.take(512 * 1024));
    });
    await clock.advance(10_000);
    return got;
  }
  const sum = (numbers: readonly number[]) => numbers.reduce((a, b) => a + b, 0);

  for (const rate of [4096, 100_000, 2_000_000, 50_000_000]) {
    test(`the upload rate of ${rate} bytes/s is shared by address, then by download, then by connection`, async () => {
      const crowd = Array.from({ length: 63 }, (_, i) => ["10.0.0.1", `ticket ${i % 7}`] as const);
      const got = await dealt(rate, [...crowd, ["10.0.0.2", "x"], ["10.0.0.2", "y"], ["10.0.0.2", "y"]]);
      const total = sum(got);
      expect(total).toBeGreaterThan(10 * rate * 0.95);
      expect(total).toBeLessThan(10 * rate * 1.05);
      const [x, y1, y2] = got.slice(63) as [number, number, number];
      expect(x + y1 + y2).toBeGreaterThan(total * 0.47);
      expect(x).toBeGreaterThan(total * 0.22);
      expect(y1).toBeGreaterThan(total * 0.1);
      expect(y2).toBeGreaterThan(total * 0.1);
      for (let ticket = 0; ticket < 7; ticket++) {
        const part = sum(got.slice(0, 63).filter((_, i) => i % 7 === ticket));
        expect(part).toBeGreaterThan(total * 0.05);
      }
    });
  }

  test("the upload rate that one does not use goes to the others, and one that comes later has its part at once", async () => {
    const clock = createVirtualClock();
    const rates = createFairRate(1_000_000, clock);
    let [first, second] = [0, 0];
    const run = async (ip: string, count: (bytes: number) => void) => {
      const payer = rates.payer(ip);
      for (;;) count(await payer.take(512 * 1024));
    };
    void run("10.0.0.1", (bytes) => {
      first += bytes;
    });
    await clock.advance(10_000);
    expect(first).toBeGreaterThan(9_500_000);
    void run("10.0.0.2", (bytes) => {
      second += bytes;
    });
    await clock.advance(2000);
    expect(second).toBeGreaterThan(950_000);
    expect(second).toBeLessThan(1_250_000);
  });

  test("another upload rate holds from then on, for what waits too, and none lets everything pass", async () => {
    const clock = createVirtualClock();
    const rates = createFairRate(1000, clock);
    let [got, asks] = [0, 0];
    const payer = rates.payer("10.0.0.1");
    const goOn = async () => {
      for (; asks < 20_000; asks++) got += await payer.take(512 * 1024);
    };
    void goOn();
    await clock.advance(10_000);
    expect(got).toBeLessThan(11_000);
    rates.setRate(1_000_000);
    await clock.advance(2000);
    expect(got).toBeGreaterThan(1_900_000);
    expect(got).toBeLessThan(2_300_000);
    rates.setRate(undefined);
    await clock.advance(1000);
    expect(asks).toBe(20_000);
    rates.setRate(1000);
    const before = got;
    asks = 0;
    void goOn();
    await clock.advance(10_000);
    expect(got - before).toBeLessThan(11_000);
  });

  const floods: readonly (readonly [string, string])[] = [
    ["LAYER", "LAYER\n"],
    ["PIECES", "PIECES\n"],
    ["PING", "PING\n"],
    ["GET of a byte", "GET 0 1\n"],
    ["GET", "GET 0 100000\n"],
    ["what is not understood", "XYZZY\n"],
  ];
  for (const [what, line] of floods) {
    test(`the upload rate holds for ${what}, asked in a loop by ten connections, and leaves another address its half`, async () => {
      const rate = 100_000;
      const { clock, ask, come } = share({ maxUploadRate: rate });
      const control = await ask("10.0.0.1", download());
      const lanes = await all(8, () => ask("10.0.0.1", `LANE ${ticketOf(control)}`));
      const honest = await ask("10.0.0.2", download());
      await clock.advance(1000);
      const fars = [control, ...lanes];
      for (const far of [...fars, honest]) far.take();
      honest.say("GET 0 4000000\n");
      for (let tenth = 0; tenth < 100; tenth++) {
        for (const far of fars) far.say(line.repeat(500));
        await clock.advance(100);
      }
      const flood = sum(fars.map((far) => far.sentBytes.length));
      expect(flood + honest.sentBytes.length).toBeLessThan(10 * rate * 1.06 + 10 * 64 * 1024);
      expect(honest.sentBytes.length).toBeGreaterThan(10 * rate * 0.44);
      expect((await ask("10.0.0.3", `PROBE ${"0".repeat(32)}`)).sent).toStartWith("PROBE_OK ");
      come("10.0.0.4").close();
    });
  }
});
