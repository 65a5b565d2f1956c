// The server over real sockets on loopback: what peers are answered, and how it forgets them.
// Invariant: every server here listens on port 0, stands on a clock of its own where deadlines count, and is closed.
// Never: waits for time to pass.

import { describe, expect, setDefaultTimeout, test } from "bun:test";
import {
  IDLE_SECONDS_MAX,
  JOIN_PAYLOAD_BYTES_MAX,
  LINE_BYTES_MAX,
  READ_AHEAD_BYTES_MAX,
  UNJOINED_SECONDS_MAX,
} from "../../src/protocol/limits.ts";
import type { Share } from "../../src/protocol/messages.ts";
import { encodeShares } from "../../src/protocol/payloads.ts";
import { PAYLOAD_TURN_BYTES } from "../../src/servidor/payload-turns.ts";
import { TURN_ORDERS } from "../../src/servidor/request-loop.ts";
import { Servidor } from "../../src/servidor.ts";
import { listen } from "../../src/transport/tcp.ts";
import { createVirtualClock, turn } from "../support/clock.ts";
import { codeOf } from "../support/good.ts";
import { createNet } from "../support/net.ts";
import type { Raw } from "../support/raw.ts";
import { askList, dial, enter, joinOf, startServidor } from "../support/servidor.ts";
import { until } from "../support/until.ts";

setDefaultTimeout(60_000);

const ROOT = "ab".repeat(32);

/** Nobody is dialled back: the peers here are sockets that listen nowhere. */
const start: typeof startServidor = (options) => startServidor({ probe: false, ...options });
const join = (port: number, ...names: string[]): string => joinOf(port, names);
const search = (raw: Raw, name: string): Promise<string> => askList(raw, `SEARCH ${name}`);

/** Asks again until the answer is this one: the server learns of a closed connection in its own time. */
const searchUntil = (raw: Raw, name: string, wanted: string) =>
  until(`SEARCH ${name} to answer ${JSON.stringify(wanted)}`, async () => (await search(raw, name)) === wanted);

describe("requests", () => {
  const SCRIPT = `HELLO 1\n${join(5001, "a.mp4", "vídeo b.mp4")}SEARCH a.mp4\nPING\nUPDATE 3 - c.mp4\nSEARCH nada\nLEAVE\n`;
  const ANSWERS = `HELLO 1\nJOIN_OK 127.0.0.1:5001\nSEARCH_OK 15\n127.0.0.1:5001\nPONG\nUPDATE_OK\nSEARCH_OK 0\nLEAVE_OK\n`;

  test("all in one segment are answered in order", async () => {
    const raw = await dial(start());
    raw.send(SCRIPT);
    expect(await raw.rest()).toBe(ANSWERS);
  });

  test("split into single bytes are answered the same", async () => {
    const raw = await dial(start());
    for (const byte of Buffer.from(SCRIPT)) {
      raw.send(Uint8Array.of(byte));
      await turn();
    }
    expect(await raw.rest()).toBe(ANSWERS);
  });

  test("cut in the middle of a name and of a UTF-8 character are answered the same", async () => {
    const raw = await dial(start());
    const bytes = Buffer.from(SCRIPT);
    const cut = bytes.indexOf(0xc3) + 1;
    raw.send(bytes.subarray(0, cut));
    await raw.line();
    raw.send(bytes.subarray(cut));
    expect(`HELLO 1\n${await raw.rest()}`).toBe(ANSWERS);
  });

  test("before a half-close are all answered, and then the server closes too", async () => {
    const raw = await dial(start());
    raw.send(SCRIPT.replace("LEAVE\n", ""));
    raw.shutdown();
    expect(await raw.rest()).toBe(ANSWERS.replace("LEAVE_OK\n", ""));
  });

  test("a CR before the newline does no harm", async () => {
    const raw = await dial(start());
    raw.send("PING\r\nHELLO 7\r\n");
    expect(await raw.lines(2)).toEqual(["PONG", "HELLO 1"]);
  });

  test("that are faults get their ERROR in their place, and the next is answered", async () => {
    const raw = await dial(start());
    raw.send(`SEARCH a\nFROB\nPING x\n${join(5002)}SEARCH ../x\nPING\n`);
    const lines = (await raw.lines(6)).map((line) => line.split(" ").slice(0, 2).join(" "));
    expect(lines).toEqual([
      "ERROR NOT_JOINED",
      "ERROR UNKNOWN_VERB",
      "ERROR BAD_REQUEST",
      "JOIN_OK 127.0.0.1:5002",
      "ERROR BAD_NAME",
      "PONG",
    ]);
  });

  test("of two connections never wait for each other", async () => {
    const server = start();
    const slow = await dial(server);
    const quick = await enter(server, 5003, "a.mp4");
    slow.send("JOIN 127.0.0.1:5004 1000\n1 - half of a na");
    expect(await search(quick, "a.mp4")).toBe("127.0.0.1:5003\n");
    slow.send("x".repeat(10));
    expect(await search(quick, "a.mp4")).toBe("127.0.0.1:5003\n");
  });

  test("of 100 peers at once are all answered (SPEC 4.a)", async () => {
    const server = start();
    const peers = await Promise.all(
      Array.from({ length: 100 }, (_, i) => enter(server, 6001 + i, "a.mp4", `${i}.mp4`)),
    );
    const found = await Promise.all(peers.map((peer) => search(peer, "a.mp4")));
    for (const list of found) expect(list.trim().split("\n").length).toBe(100);
    expect(await search(peers[0] as Raw, "99.mp4")).toBe("127.0.0.1:6100\n");
  });

  test("one peer's flood leaves room for another's request", async () => {
    const server = start();
    const flood = await enter(server, 5005, "a.mp4");
    const other = await enter(server, 5006);
    // The answers are never read, so the flood is answered as far as the system's buffers go and then waits.
    flood.pause();
    flood.send("SEARCH a.mp4\n".repeat(400_000));
    expect(await search(other, "a.mp4")).toBe("127.0.0.1:5005\n");
    const searched = server.events.filter((event) => event.type === "searched" && event.address.port === 5005).length;
    expect(searched).toBeLessThan(400_000);
  });
});

describe("JOIN", () => {
  test("of 100,000 names in one payload is answered, and every name is found", async () => {
    const server = start();
    const raw = await dial(server);
    const shares = Array.from({ length: 100_000 }, (_, i): Share => ({ name: `vídeo ${i}.mp4`, size: i, root: ROOT }));
    const payload = encodeShares(shares);
    raw.send(`JOIN 127.0.0.1:5010 ${payload.length}\n`);
    raw.send(payload);
    raw.send("SEARCH vídeo 99999.mp4\n");
    expect(await raw.lines(3)).toEqual(["JOIN_OK 127.0.0.1:5010", "SEARCH_OK 15", "127.0.0.1:5010"]);
    const joined = server.events.find((event) => event.type === "joined");
    expect(joined).toMatchObject({ type: "joined", address: { ip: "127.0.0.1", port: 5010 } });
    const names = joined?.type === "joined" ? joined.names : [];
    expect(names).toHaveLength(100_000);
    expect([...names]).toEqual(shares.map(({ name }) => name));
  });

  test("tells of the peer and its names, SEARCH of the peer and the name (SPEC 6)", async () => {
    const server = start();
    const raw = await enter(server, 5011, "b.mp4", "a 1.mp4");
    await search(raw, "x y.mp4");
    const address = { ip: "127.0.0.1", port: 5011 };
    expect(server.events).toEqual([
      { type: "joined", address, names: ["b.mp4", "a 1.mp4"] },
      { type: "searched", address, name: "x y.mp4" },
    ]);
  });

  test("again moves the peer: the old address and files are gone at once", async () => {
    const server = start();
    const watcher = await enter(server, 5012);
    const raw = await enter(server, 5013, "a.mp4", "b.mp4");
    raw.send(join(5014, "b.mp4"));
    expect(await raw.line()).toBe("JOIN_OK 127.0.0.1:5014");
    expect(await search(watcher, "a.mp4")).toBe("");
    expect(await search(watcher, "b.mp4")).toBe("127.0.0.1:5014\n");
    await enter(server, 5013, "c.mp4");
    expect(await search(watcher, "c.mp4")).toBe("127.0.0.1:5013\n");
  });

  test("at a live peer's address is ADDRESS_TAKEN, and the live one stays", async () => {
    const server = start();
    const live = await enter(server, 5015, "a.mp4");
    const thief = await dial(server);
    thief.send(join(5015, "b.mp4"));
    expect(await thief.line()).toStartWith("ERROR ADDRESS_TAKEN retry");
    expect(await search(live, "a.mp4")).toBe("127.0.0.1:5015\n");
    expect(await search(live, "b.mp4")).toBe("");
    thief.send(join(5016, "b.mp4"));
    expect(await thief.line()).toBe("JOIN_OK 127.0.0.1:5016");
  });

  test("a move to a live peer's address is ADDRESS_TAKEN, and the mover stays where it was", async () => {
    const server = start();
    const mover = await enter(server, 5017, "a.mp4");
    await enter(server, 5018);
    mover.send(join(5018, "b.mp4"));
    expect(await mover.line()).toStartWith("ERROR ADDRESS_TAKEN");
    expect(await search(mover, "a.mp4")).toBe("127.0.0.1:5017\n");
  });

  test("that declares somebody else's machine is ADDRESS_MISMATCH", async () => {
    const raw = await dial(start());
    raw.send("JOIN 8.8.8.8:80 0\nSEARCH a\n");
    expect(await raw.line()).toStartWith("ERROR ADDRESS_MISMATCH final");
    expect(await raw.line()).toStartWith("ERROR NOT_JOINED");
  });

  test("with 0.0.0.0 is published at the address it comes from", async () => {
    const raw = await dial(start());
    raw.send("JOIN 0.0.0.0:80 0\n");
    expect(await raw.line()).toBe("JOIN_OK 127.0.0.1:80");
  });

  test("whose payload is broken is refused whole, and the connection goes on", async () => {
    const server = start();
    const raw = await dial(server);
    const payload = "1 - a.mp4\n1 - ../b.mp4\n";
    raw.send(`JOIN 127.0.0.1:5019 ${payload.length}\n${payload}PING\n${join(5019)}SEARCH a.mp4\n`);
    const lines = await raw.lines(4);
    expect(lines[0]).toStartWith("ERROR BAD_NAME");
    expect(lines.slice(1)).toEqual(["PONG", "JOIN_OK 127.0.0.1:5019", "SEARCH_OK 0"]);
  });

  test("whose payload is too large is refused before any of it is read, and ends the connection", async () => {
    const raw = await dial(start());
    raw.send(`JOIN 127.0.0.1:5020 ${JOIN_PAYLOAD_BYTES_MAX + 1}\n`);
    expect(await raw.rest()).toStartWith("ERROR PAYLOAD_TOO_LARGE final");
  });

  test("whose line is not understood ends the connection: its payload cannot be told from requests", async () => {
    const raw = await dial(start());
    raw.send("JOIN 1.2.3.4:5 -1\nPING\n");
    expect(await raw.rest()).toMatch(/^ERROR BAD_REQUEST[^\n]*\n$/);
  });
});

describe("a peer is forgotten", () => {
  test("at once when its connection closes, in whatever way", async () => {
    const server = start();
    const watcher = await enter(server, 5030);
    const polite = await enter(server, 5031, "a.mp4");
    const killed = await enter(server, 5032, "a.mp4");
    const half = await enter(server, 5033, "a.mp4");
    expect(await search(watcher, "a.mp4")).toBe("127.0.0.1:5031\n127.0.0.1:5032\n127.0.0.1:5033\n");
    killed.destroy();
    await searchUntil(watcher, "a.mp4", "127.0.0.1:5031\n127.0.0.1:5033\n");
    half.shutdown();
    await searchUntil(watcher, "a.mp4", "127.0.0.1:5031\n");
    polite.send("LEAVE\n");
    expect(await polite.line()).toBe("LEAVE_OK");
    expect(await search(watcher, "a.mp4")).toBe("");
  });

  test("in the middle of a JOIN's payload too", async () => {
    const server = start();
    const watcher = await enter(server, 5034);
    const raw = await enter(server, 5035, "a.mp4");
    raw.send("JOIN 127.0.0.1:5036 500\n1 - a.mp4\n");
    raw.destroy();
    await searchUntil(watcher, "a.mp4", "");
  });

  test("and its address is free for the next at once", async () => {
    const server = start();
    const watcher = await enter(server, 5037);
    (await enter(server, 5038, "a.mp4")).destroy();
    await searchUntil(watcher, "a.mp4", "");
    await enter(server, 5038, "b.mp4");
  });

  test("when it has vanished, within IDLE_SECONDS_MAX, while one that says PING stays", async () => {
    const clock = createVirtualClock();
    const server = start({ clock });
    const live = await enter(server, 5040, "a.mp4");
    const silent = await enter(server, 5041, "a.mp4");
    for (let second = 0; second < IDLE_SECONDS_MAX + 2; second += 5) {
      live.send("PING\n");
      expect(await live.line()).toBe("PONG");
      await clock.advance(5000);
    }
    live.send("PING\n");
    expect(await live.line()).toBe("PONG");
    expect(await search(live, "a.mp4")).toBe("127.0.0.1:5040\n");
    expect(await silent.rest()).toStartWith("ERROR TIMEOUT retry");
    expect(server.events).toContainEqual({ type: "left", address: { ip: "127.0.0.1", port: 5041 }, reason: "silent" });
  });

  test("every way of leaving is told once, with its reason", async () => {
    const server = start();
    const left = () => server.events.filter((event) => event.type === "left");
    const polite = await enter(server, 5042);
    polite.send("LEAVE\n");
    await polite.over();
    polite.destroy();
    const killed = await enter(server, 5043);
    killed.destroy();
    const address = (port: number) => ({ ip: "127.0.0.1", port });
    await until("both to be told", () => left().length >= 2);
    expect(left()).toEqual([
      { type: "left", address: address(5042), reason: "left" },
      { type: "left", address: address(5043), reason: "closed" },
    ]);
  });
});

describe("nobody stays for nothing", () => {
  test("one that connects and says nothing is closed after UNJOINED_SECONDS_MAX", async () => {
    const clock = createVirtualClock();
    const raw = await dial(start({ clock }));
    raw.send("PING\n");
    expect(await raw.line()).toBe("PONG");
    await clock.advance((UNJOINED_SECONDS_MAX + 1) * 1000);
    expect(await raw.rest()).toStartWith("ERROR TIMEOUT retry");
  });

  test("one that drips a byte now and then is closed as well, before JOIN", async () => {
    const clock = createVirtualClock();
    const server = start({ clock });
    const raw = await dial(server);
    for (let second = 0; second < 3 * UNJOINED_SECONDS_MAX && !raw.isOver; second += 5) {
      raw.send("S");
      const drip = await dial(server);
      drip.send("PING\n"); // once this is answered, the byte before it has been heard
      await drip.line();
      await clock.advance(5000);
    }
    expect(await raw.rest()).toStartWith("ERROR TIMEOUT retry");
  });

  test("one that says PING and never JOIN is closed as well", async () => {
    const clock = createVirtualClock();
    const raw = await dial(start({ clock }));
    for (let second = 0; second < UNJOINED_SECONDS_MAX - 5; second += 5) {
      raw.send("PING\n");
      expect(await raw.line()).toBe("PONG");
      await clock.advance(5000);
    }
    await clock.advance(7000);
    expect(await raw.rest()).toStartWith("ERROR TIMEOUT retry");
  });

  test("a JOIN that drips is closed, one that comes slowly but steadily is not", async () => {
    const clock = createVirtualClock();
    const server = start({ clock });
    const [drip, steady] = [await dial(server), await dial(server)];
    const line = `1 - ${"x".repeat(200)}`;
    const payload = Array.from({ length: 8000 }, (_, i) => `${line}${i}\n`).join("");
    drip.send(`JOIN 127.0.0.1:5050 ${payload.length}\n`);
    steady.send(`JOIN 127.0.0.1:5051 ${payload.length}\n`);
    for (let at = 0; at < payload.length; at += 200_000) {
      if (!drip.isOver) drip.send("1");
      steady.send(payload.slice(at, at + 200_000));
      const heard = await dial(server);
      heard.send("PING\n");
      await heard.line();
      await clock.advance(5000);
    }
    expect(await drip.rest()).toStartWith("ERROR TIMEOUT retry");
    expect(await steady.line()).toBe("JOIN_OK 127.0.0.1:5051");
  });

  test("of all payloads that have begun about PAYLOAD_TURN_BYTES are read in a turn, and each JOIN is answered", async () => {
    let [inTurn, most, largest, isOver] = [0, 0, 0, false];
    const nextTurn = (): void => {
      most = Math.max(most, inTurn);
      inTurn = 0;
      if (!isOver) setImmediate(nextTurn);
    };
    const server = start({
      listen: (at, accept) =>
        listen(at, (connection) => {
          const handlers = accept(connection);
          let hasBegun = false;
          const data = (chunk: Uint8Array) => {
            inTurn += hasBegun ? chunk.length : 0;
            largest = Math.max(largest, chunk.length);
            hasBegun = true;
            handlers.data(chunk);
          };
          return { ...handlers, data };
        }),
    });
    const peers = await Promise.all(Array.from({ length: 8 }, () => dial(server)));
    const names = Array.from({ length: 6000 }, (_, i) => `${i}${"x".repeat(240)}`);
    nextTurn();
    for (const [i, peer] of peers.entries()) peer.send(join(5100 + i, ...names));
    for (const [i, peer] of peers.entries()) expect(await peer.line()).toBe(`JOIN_OK 127.0.0.1:${5100 + i}`);
    isOver = true;
    // The chunk with which the bound is reached is the last one of its turn.
    expect(most).toBeLessThan(PAYLOAD_TURN_BYTES + largest);
  });

  test("one that does not read is read no further, and is closed at its deadline although its answers wait", async () => {
    const clock = createVirtualClock();
    let closed = 0;
    const server = start({
      clock,
      limits: { searchesPerSecond: 1e9 },
      listen: (at, accept) =>
        listen(at, (connection) => {
          const handlers = accept(connection);
          const close = () => {
            closed += connection.remote.port === raw?.port ? 1 : 0;
            handlers.close();
          };
          return { ...handlers, close };
        }),
    });
    let raw: Raw | undefined;
    const watcher = await enter(server, 5052);
    const names = Array.from({ length: 1000 }, (_, i) => `${i}.mp4`);
    raw = await enter(server, 5053, ...names);
    raw.pause();
    raw.send("SEARCH 1.mp4\n".repeat(1_500_000));
    await until("the server to stop answering", async () => {
      const before = server.events.length;
      await search(watcher, "x");
      await search(watcher, "x");
      return server.events.length - before === 2;
    });
    for (let second = 0; second < IDLE_SECONDS_MAX + 10; second += 5) {
      await search(watcher, "x");
      await clock.advance(5000);
    }
    expect(await search(watcher, "1.mp4")).toBe("");
    await until("its socket to be closed", () => closed === 1);
  });
});

describe("a line or a stream out of bounds", () => {
  test("of more than LINE_BYTES_MAX is LINE_TOO_LONG and ends the connection", async () => {
    const raw = await dial(start());
    raw.send(`PING\n${"x".repeat(LINE_BYTES_MAX + 1)}`);
    expect(await raw.rest()).toMatch(/^PONG\nERROR LINE_TOO_LONG final [^\n]*\n$/);
  });

  test("nothing that comes after the end is kept", async () => {
    const server = start();
    const raw = await dial(server);
    raw.send("x".repeat(READ_AHEAD_BYTES_MAX));
    await raw.over();
    const before = process.memoryUsage().rss;
    const block = Buffer.alloc(1024 * 1024, "x");
    for (let sent = 0; sent < 256; sent++) raw.send(block);
    const other = await enter(server, 5060);
    for (let i = 0; i < 50; i++) await search(other, "x");
    Bun.gc(true);
    expect(process.memoryUsage().rss - before).toBeLessThan(128 * 1024 * 1024);
  });

  test.each(["", "JOIN 127.0.0.1:1 10 "])(
    "of bytes that are no text, behind %j, is BAD_REQUEST and the last: what follows may be a JOIN's payload",
    async (before) => {
      const raw = await dial(start());
      raw.send(Buffer.concat([Buffer.from(before), Uint8Array.of(0xff, 0xfe, 10), Buffer.from("PING\nPING\n")]));
      expect(await raw.line()).toStartWith("ERROR BAD_REQUEST final");
      expect(await raw.rest()).toBe("");
    },
  );

  test.each(["JOIN2 127.0.0.1:1 5", "JOINED", "JOIN_OK 1"])(
    "of a verb that only begins like JOIN, %s, is UNKNOWN_VERB, and the next is answered",
    async (line) => {
      const raw = await dial(start());
      raw.send(`${line}\nPING\n`);
      expect(await raw.line()).toStartWith("ERROR UNKNOWN_VERB final");
      expect(await raw.line()).toBe("PONG");
    },
  );

  test("random bytes harm nobody", async () => {
    const server = start();
    const other = await enter(server, 5061, "a.mp4");
    let seed = 42;
    const random = () => {
      seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
      return seed >>> 24;
    };
    for (let round = 0; round < 20; round++) {
      const raw = await dial(server);
      raw.send(Uint8Array.from({ length: 3000 }, random));
      raw.shutdown();
      await raw.rest();
      expect(await search(other, "a.mp4")).toBe("127.0.0.1:5061\n");
    }
  });
});

describe("listening", () => {
  test("on a port in use is PORT_IN_USE, on a foreign address HOST_UNAVAILABLE", () => {
    const { address } = start();
    const again = (host: string, port: number) =>
      new Servidor({ at: { ip: host, port }, onEvent: () => undefined }).listen();
    expect(codeOf(again("127.0.0.1", address.port))).toBe("PORT_IN_USE");
    expect(codeOf(again("203.0.113.1", 0))).toBe("HOST_UNAVAILABLE");
  });

  test("on the port it had works at once after a close with peers in, who are told to come back", async () => {
    const first = start();
    const peer = await enter(first, 5070, "a.mp4");
    await first.servidor.close();
    expect(await peer.rest()).toStartWith("ERROR SHUTTING_DOWN retry");
    const second = start({ at: first.address });
    const back = await enter(second, 5070);
    expect(await search(back, "a.mp4")).toBe("");
  });
});

describe("whoever breaks off", () => {
  test.each([["PING"], ["UPDATE 1 - b.mp4"]])(
    "in the middle of many a %s is in no list, and its address is free",
    async (line) => {
      const net = createNet();
      start({ listen: net.listen });
      const enterFrom = async (port: number) => {
        const far = net.visit({ ip: "127.0.0.1", port });
        far.say(join(7001, "a.mp4"));
        await until("an answer", () => far.sent !== ""); // not at once where this turn's time is spent
        expect(far.take()).toBe("JOIN_OK 127.0.0.1:7001\n");
        return far;
      };
      const gone = await enterFrom(6001);
      gone.say(`${line}\n`.repeat(2 * TURN_ORDERS));
      gone.close();
      const next = await enterFrom(6002);
      next.say("WITHDRAW a.mp4\nSEARCH a.mp4\nSEARCH b.mp4\n");
      expect(next.sent).toBe("WITHDRAW_OK\nSEARCH_OK 0\nSEARCH_OK 0\n");
    },
  );
});
