// The real network, where its contract is more than Bun's.
// Invariant: whatever one side does, `close` comes once and last, and everything sent before a goodbye arrives.
// Never: leaves a socket open.

import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";
import { type Connection, DEAF, type Handlers, type Listener } from "../../src/transport/connection.ts";
import { connect, listen } from "../../src/transport/tcp.ts";
import { closeAfterTest } from "../support/closing.ts";
import { good } from "../support/good.ts";
import { openRaw } from "../support/raw.ts";
import { until } from "../support/until.ts";

setDefaultTimeout(60_000);

type Seen = { connection: Connection; events: string[]; bytes: number };

/** A listener whose connections note what they are told. */
function listening(onOpen: (seen: Seen) => void = () => undefined): { listener: Listener; all: Seen[] } {
  const all: Seen[] = [];
  const listener = good(
    listen({ ip: "127.0.0.1", port: 0 }, (connection): Handlers => {
      const seen: Seen = { connection, events: [], bytes: 0 };
      all.push(seen);
      closeAfterTest(() => connection.destroy());
      onOpen(seen);
      return {
        data(chunk) {
          seen.bytes += chunk.length;
        },
        drain: () => void seen.events.push("drain"),
        end: () => void seen.events.push("end"),
        close: () => void seen.events.push("close"),
      };
    }),
  );
  closeAfterTest(() => listener.close());
  return { listener, all };
}

const first = (all: Seen[]) => until("a connection", () => all[0]);

describe("a connection", () => {
  test("a connection knows both of its ends", async () => {
    const { listener, all } = listening();
    using raw = await openRaw(listener.address);
    const { connection } = await first(all);
    expect(connection.remote).toEqual({ ip: "127.0.0.1", port: raw.port });
    expect(connection.local).toEqual(listener.address);
  });

  test("a connection delivers what one write could not take, in order, and says drain once it has left", async () => {
    const { listener, all } = listening();
    using raw = await openRaw(listener.address);
    const { connection, events } = await first(all);
    raw.pause();
    const block = Uint8Array.from({ length: 1 << 20 }, (_, i) => (i * 7) & 255);
    for (let i = 0; i < 32; i++) connection.send(block);
    expect(connection.queued).toBeGreaterThan(0);
    raw.resume();
    const got = await raw.bytes(32 << 20);
    for (let i = 0; i < 32; i++) expect(Buffer.compare(got.subarray(i << 20, (i + 1) << 20), block)).toBe(0);
    await until("drain", () => events.includes("drain"));
    expect(connection.queued).toBe(0);
  });

  test("a connection says goodbye after everything queued has left", async () => {
    const { listener, all } = listening();
    using raw = await openRaw(listener.address);
    const { connection } = await first(all);
    raw.pause();
    for (let i = 0; i < 16; i++) connection.send(new Uint8Array(1 << 20));
    connection.send("bye\n");
    connection.end();
    connection.send("never");
    raw.resume();
    expect((await raw.rest()).slice(-4)).toBe("bye\n");
    expect(raw.received).toBe((16 << 20) + 4);
  });

  test("a connection is closed after a goodbye although the other side reads nothing and says nothing", async () => {
    const { listener, all } = listening();
    using raw = await openRaw(listener.address);
    const { connection, events } = await first(all);
    raw.pause();
    for (let i = 0; i < 64; i++) connection.send(new Uint8Array(1 << 20));
    expect(connection.queued).toBeGreaterThan(0);
    connection.end();
    await until("the close", () => events.includes("close"), 15);
  });

  test("a connection tells `close` once and last, however it ends", async () => {
    const { listener, all } = listening();
    const raws = [await openRaw(listener.address), await openRaw(listener.address), await openRaw(listener.address)];
    await until("three connections", () => all.length === 3);
    raws[0]?.destroy();
    raws[1]?.shutdown();
    await until("the half-close", () => all[1]?.events.includes("end"));
    all[1]?.connection.end();
    all[2]?.connection.destroy();
    all[2]?.connection.destroy();
    all[2]?.connection.send("nothing");
    await until("three closes", () => all.every(({ events }) => events.includes("close")));
    for (const { events } of all) {
      expect(events.filter((event) => event === "close").length).toBe(1);
      expect(events.at(-1)).toBe("close");
    }
  });

  test("a connection that is paused gets no data until it is resumed", async () => {
    const { listener, all } = listening(({ connection }) => connection.pause());
    using raw = await openRaw(listener.address);
    raw.send("PING\n");
    const seen = await first(all);
    using other = await openRaw(listener.address);
    other.send("x");
    await until("the other one", () => all.length === 2);
    expect(seen.bytes).toBe(0);
    seen.connection.resume();
    await until("the data", () => seen.bytes === 5);
  });
});

describe("dialling", () => {
  test("a dial to a port without a listener is PEER_UNREACHABLE, because the connection is refused", async () => {
    const { listener } = listening();
    listener.close();
    const opened: Connection[] = [];
    const result = await connect(listener.address, (connection) => {
      opened.push(connection);
      return { data() {}, drain() {}, end() {}, close() {} };
    });
    expect(result).toMatchObject({ fault: "PEER_UNREACHABLE", cause: "connection-refused" });
    expect(opened).toEqual([]);
  });
});

describe("a listener", () => {
  test("a listener accepts others after many that hung up at once", async () => {
    const { listener, all } = listening();
    for (let i = 0; i < 200; i++) (await openRaw(listener.address)).destroy();
    using raw = await openRaw(listener.address);
    raw.send("x");
    await until("the last one's byte", () => all.some(({ bytes }) => bytes === 1));
    await until("the others' end", () => all.filter(({ events }) => events.includes("close")).length === 200);
  });

  test("a listener hands over no connection that was reset before it was accepted: such a one has no other end", async () => {
    const { listener, all } = listening();
    // Another process, so that this one sleeps meanwhile and finds every connection reset when it comes to accept.
    const reset = `for (let i = 0; i < 20; i++) await new Promise((done) => Bun.connect({ hostname: "127.0.0.1",
      port: ${listener.address.port}, socket: { open(s) { s.write("x"); s.terminate(); }, data() {}, close: done } }));`;
    expect(Bun.spawnSync([process.execPath, "-e", reset], { timeout: 10_000 }).exitCode).toBe(0);
    using raw = await openRaw(listener.address);
    raw.send("xy");
    await until("the last one's bytes", () => all.some(({ bytes }) => bytes === 2));
    expect(all.map(({ connection }) => typeof connection.remote.ip)).toEqual(all.map(() => "string"));
  });

  test("a listener gives its port free at once, connections and all", async () => {
    const { listener, all } = listening();
    using raw = await openRaw(listener.address);
    (await first(all)).connection.destroy();
    await raw.over();
    listener.close();
    const again = good(listen(listener.address, () => ({ data() {}, drain() {}, end() {}, close() {} })));
    expect(again.address).toEqual(listener.address);
    again.close();
  });
});

test("a dial that this machine could not make says so, and one that was refused does not", async () => {
  const nobody = good(listen({ ip: "127.0.0.1", port: 0 }, () => DEAF));
  nobody.close();
  const refused = await connect(nobody.address, () => DEAF);
  expect(refused).toMatchObject({ fault: "PEER_UNREACHABLE", whose: "network" });
  if (process.platform === "win32") return;
  // Without descriptors, in a process of its own.
  const script = `
    import { openSync, closeSync } from "node:fs";
    const { connect } = await import(${JSON.stringify(join(import.meta.dir, "../../src/transport/tcp.ts"))});
    const deaf = () => ({ data() {}, drain() {}, end() {}, close() {} });
    const held = [];
    try { for (;;) held.push(openSync("/dev/null", "r")); } catch {}
    const answer = await connect({ ip: "127.0.0.1", port: ${nobody.address.port} }, deaf);
    for (const fd of held) closeSync(fd);
    console.log(answer.whose, answer.detail);`;
  const child = Bun.spawn(["sh", "-c", 'ulimit -n 100; exec "$0" -e "$1"', process.execPath, script], {
    stdout: "pipe",
    stderr: "inherit",
  });
  expect(await child.stdout.text()).toBe(`ours 127.0.0.1:${nobody.address.port} EMFILE\n`);
});
