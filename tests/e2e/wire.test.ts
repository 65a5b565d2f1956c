// Strangers at the door of the executables: raw bytes that no peer of ours would send, and silence.

import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { openNative, search, share, startServer } from "../support/napster.ts";
import type { Program } from "../support/program.ts";
import { until } from "../support/until.ts";

setDefaultTimeout(60_000);

const machine = await openNative();
const { server, at } = await startServer(machine, "--no-probe"); // strangers listen nowhere
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await machine[Symbol.asyncDispose]();
});

type Stranger = {
  send(text: string): void;
  /** Everything received so far. */
  heard(): string;
  hears(text: string | RegExp): Promise<void>;
  halfClose(): void;
  closed(): boolean;
} & Disposable;

/** A plain TCP connection that knows nothing of the protocol. */
async function dial(address: string): Promise<Stranger> {
  const [hostname = "", port = ""] = address.split(":");
  let heard = "";
  let closed = false;
  const socket = await Bun.connect({
    hostname,
    port: Number(port),
    allowHalfOpen: true,
    socket: {
      data: (_, bytes) => {
        heard += bytes.toString("utf8");
      },
      end: () => {
        closed = true;
      },
      close: () => {
        closed = true;
      },
    },
  });
  socket.setNoDelay(true);
  return {
    send: (text) => void socket.write(text),
    heard: () => heard,
    async hears(text) {
      const has = () => (typeof text === "string" ? heard.includes(text) : text.test(heard));
      await until(`the answer ${text}`, has, 10, () => JSON.stringify(heard));
    },
    halfClose: () => socket.shutdown(),
    closed: () => closed,
    [Symbol.dispose]: () => socket.terminate(),
  };
}

const joinOf = (address: string, ...names: string[]): string => {
  const payload = names.map((name) => `1 - ${name}\n`).join("");
  return `JOIN ${address} ${Buffer.byteLength(payload)}\n${payload}`;
};

describe("at the server", () => {
  test("JOIN, UPDATE and SEARCH in one segment are all answered, in order (SPEC 4.b, 4.c, 4.d)", async () => {
    using stranger = await dial(at);
    stranger.send(`HELLO 1\n${joinOf("127.0.0.1:40001", "a.mp4")}UPDATE 5 - b.mp4\nSEARCH b.mp4\n`);
    await stranger.hears("127.0.0.1:40001\n");
    expect(stranger.heard()).toBe("HELLO 1\nJOIN_OK 127.0.0.1:40001\nUPDATE_OK\nSEARCH_OK 16\n127.0.0.1:40001\n");
  });

  test("a request in segments of one byte is one request", async () => {
    using stranger = await dial(at);
    for (const byte of `HELLO 1\n${joinOf("127.0.0.1:40002", "byte a byte.mp4")}`) stranger.send(byte);
    await stranger.hears("JOIN_OK 127.0.0.1:40002\n");
    expect(await search(machine, at, "byte a byte.mp4")).toEqual(["127.0.0.1:40002"]);
  });

  test("a request before a half-close is answered", async () => {
    using stranger = await dial(at);
    stranger.send(`HELLO 1\n${joinOf("127.0.0.1:40003", "metade.mp4")}SEARCH metade.mp4\n`);
    stranger.halfClose();
    await stranger.hears("SEARCH_OK 16\n127.0.0.1:40003\n");
  });

  test("fifty silent connections and a half request hold up nobody (SPEC 4.a)", async () => {
    using strangers = new DisposableStack();
    for (let count = 0; count < 50; count++) strangers.use(await dial(at));
    const half = strangers.use(await dial(at));
    half.send("HELLO 1\nJOIN 127.0.0.1:40");
    expect(await search(machine, at, "nada.mp4")).toEqual([]);
  });

  test.each([
    ["a line without end", `HELLO 1\nSEARCH ${"x".repeat(100_000)}`],
    ["a payload beyond the limit", "HELLO 1\nJOIN 127.0.0.1:40004 4294967295\n"],
    ["a negative payload", "HELLO 1\nJOIN 127.0.0.1:40004 -1\n"],
    ["something else", "GET / HTTP/1.1\r\nHost: x\r\n\r\n"],
    ["another's address", `HELLO 1\n${joinOf("8.8.8.8:80", "x.mp4")}`],
    ["a name that leads out", `HELLO 1\n${joinOf("127.0.0.1:40004", "../x.mp4")}`],
  ])("%s is refused, and the server goes on", async (_, bytes) => {
    using stranger = await dial(at);
    stranger.send(bytes);
    await stranger.hears(/^ERROR [A-Z_]+ (?:retry|final)/m);
    expect(stranger.heard()).not.toContain("JOIN_OK");
    expect(await search(machine, at, "x.mp4")).toEqual([]);
  });

  test("a stranger cannot take a living peer's address", async () => {
    const { peer, address } = await share(machine, at, machine.place("alive", { "vivo.mp4": "v" }));
    await using _peer = peer;
    using thief = await dial(at);
    thief.send(`HELLO 1\n${joinOf(address, "roubado.mp4")}`);
    await thief.hears("ERROR ADDRESS_TAKEN");
    expect(await search(machine, at, "vivo.mp4")).toEqual([address]);
    expect(await search(machine, at, "roubado.mp4")).toEqual([]);
  });
});

describe("at a sharing peer (SPEC 5.a, 5.g)", () => {
  let peer: Program;
  let address: string;
  beforeAll(async () => {
    const place = machine.place("shared", { "aula.mp4": "aula" });
    writeFileSync(join(machine.temporary.path, "segredo.txt"), "segredo");
    machine.place("shared/dentro", { "dentro.mp4": "d" });
    ({ peer, address } = await share(machine, at, place));
    writeFileSync(join(place.path, "depois do JOIN.mp4"), "não anunciado");
  });
  afterAll(() => peer[Symbol.asyncDispose]());

  test.each([
    "../segredo.txt",
    "..\\segredo.txt",
    "/etc/passwd",
    "dentro/dentro.mp4",
    "depois do JOIN.mp4",
    "outra.mp4",
  ])("DOWNLOAD of %s is refused", async (name) => {
    using stranger = await dial(address);
    stranger.send(`HELLO 1\nDOWNLOAD ${name}\n`);
    await stranger.hears(/^(?:REJECT|ERROR) /m);
    expect(stranger.heard()).not.toContain("ACCEPT");
  });

  test("a peer with silent callers still serves", async () => {
    using strangers = new DisposableStack();
    for (let count = 0; count < 20; count++) strangers.use(await dial(address));
    const here = machine.place("served");
    await using getting = machine.start("napster-peer", ["get", "aula.mp4", "--server", at, "--dir", here.typed]);
    expect(await getting.exit()).toBe(0);
  });

  test("nothing follows what was asked for", async () => {
    using stranger = await dial(address);
    stranger.send("HELLO 1\nDOWNLOAD aula.mp4\n");
    await stranger.hears(/ACCEPT [0-9a-f]{32} 4 262144 /);
    using lane = await dial(address);
    lane.send(`HELLO 1\nLANE ${/ACCEPT ([0-9a-f]{32})/.exec(stranger.heard())?.[1]}\nGET 0 4\nPING\n`);
    await lane.hears("PONG\n");
    expect(lane.heard()).toMatch(/DATA 0 4\naulaPONG\n$/);
  });
});
