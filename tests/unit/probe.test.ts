// The dial back: who is listed, who is told that nobody can reach it, and who may take an address from whom.
// Invariant: every door here listens on port 0 of loopback and is closed; deadlines stand on a clock of their own.
// Never: waits for time to pass.

import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { fault } from "../../src/protocol/fault.ts";
import { PROBE_SECONDS_MAX, PROBES_PER_ADDRESS_MAX } from "../../src/protocol/limits.ts";
import { proofOf } from "../../src/protocol/proof.ts";
import { createReachability } from "../../src/servidor/reachability.ts";
import type { Connect } from "../../src/transport/connection.ts";
import { createDialProbe } from "../../src/transport/dial-probe.ts";
import { newSecurity } from "../../src/transport/security.ts";
import { connect } from "../../src/transport/tcp.ts";
import { createVirtualClock } from "../support/clock.ts";
import { closeAfterTest } from "../support/closing.ts";
import { good } from "../support/good.ts";
import { createNet } from "../support/net.ts";
import type { Raw } from "../support/raw.ts";
import { askList, dial, joinOf as joinWith, type Running, startServidor as start } from "../support/servidor.ts";
import { until } from "../support/until.ts";

setDefaultTimeout(60_000);

const dialProbe = createDialProbe(newSecurity());
const ROOT = "ab".repeat(32);
const KEY = "0123456789abcdef".repeat(2);
const OTHER_KEY = "fedcba9876543210".repeat(2);

type Door = { readonly port: number; readonly asked: string[]; close(): void };

/** Listens as a peer does and says `answer` to each line; "" is silence. */
function openDoor(answer: (line: string) => string, port = 0): Door {
  const asked: string[] = [];
  const listener = Bun.listen({
    hostname: "127.0.0.1",
    port,
    socket: {
      data(socket, chunk) {
        asked.push(chunk.toString());
        socket.write(answer(chunk.toString().trimEnd()));
      },
    },
  });
  closeAfterTest(() => listener.stop(true));
  return { port: listener.port, asked, close: () => listener.stop(true) };
}

const nonceOf = (line: string): string => line.split(" ")[1] ?? "";
const proves = (key: string | undefined) => (line: string) => `PROBE_OK ${proofOf(key, nonceOf(line))}\n`;

const joinOf = (port: number, key: string | undefined, names: readonly string[]): string =>
  joinWith(port, names, { root: ROOT, ...(key !== undefined && { key }) });

async function join(raw: Raw, port: number, key: string | undefined, ...names: string[]): Promise<string> {
  raw.send(joinOf(port, key, names));
  return raw.line();
}

/** Somebody who only asks. */
async function watch(server: Running): Promise<Raw> {
  const raw = await dial(server);
  expect(await join(raw, 9, "-")).toBe("JOIN_OK 127.0.0.1:9");
  return raw;
}

/** What SEARCH, SOURCES and FIND say of a.mp4. */
const lists = async (raw: Raw): Promise<string[]> => [
  await askList(raw, "SEARCH a.mp4"),
  await askList(raw, `SOURCES ${ROOT}`),
  await askList(raw, "FIND 0 10 a"),
];
const NOWHERE = ["", "", ""];

describe("a peer that joins", () => {
  test("and proves its key is listed by the time it hears JOIN_OK", async () => {
    const server = start();
    const watcher = await watch(server);
    const door = openDoor(proves(KEY));
    const raw = await dial(server);
    expect(await join(raw, door.port, KEY, "a.mp4")).toBe(`JOIN_OK 127.0.0.1:${door.port}`);
    expect(await askList(watcher, "SEARCH a.mp4")).toBe(`127.0.0.1:${door.port}\n`);
    expect(door.asked).toHaveLength(1);
    expect(door.asked[0]).toMatch(/^PROBE [0-9a-f]{32}\n$/);
  });

  test("without a key gives the nonce back: a person can, by hand", async () => {
    const server = start();
    const door = openDoor(proves(undefined));
    const raw = await dial(server);
    expect(await join(raw, door.port, undefined, "a.mp4")).toBe(`JOIN_OK 127.0.0.1:${door.port}`);
    expect(await askList(raw, "SEARCH a.mp4")).toBe(`127.0.0.1:${door.port}\n`);
  });

  test("is asked another nonce each time", async () => {
    const server = start();
    const door = openDoor(proves(KEY));
    const raw = await dial(server);
    for (let i = 0; i < 20; i++) await join(raw, door.port, KEY);
    expect(new Set(door.asked).size).toBe(20);
  });

  const unreached: [string, (line: string) => string][] = [
    ["an echo", (line) => `${line}\n`],
    ["another verb", (line) => `PONG ${proofOf(KEY, nonceOf(line))}\n`],
    ["a wrong proof", (line) => `PROBE_OK ${proofOf(OTHER_KEY, nonceOf(line))}\n`],
    ["the nonce, for one that has said a key", (line) => `PROBE_OK ${nonceOf(line)}\n`],
    ["the key", () => `PROBE_OK ${KEY}\n`],
    ["more than a line", () => "PROBE_OK ".padEnd(5000, "a")],
    ["an ERROR", () => "ERROR UNKNOWN_VERB final what?\n"],
    ["bytes that are no text", () => "\u00ff\u0000\n"],
  ];
  test.each(unreached)("and whose port answers %s is unreachable, and in no list", async (_, answer) => {
    const server = start();
    const door = openDoor(answer);
    const raw = await dial(server);
    expect(await join(raw, door.port, KEY, "a.mp4")).toBe(`JOIN_OK 127.0.0.1:${door.port} unreachable`);
    expect(await lists(raw)).toEqual(NOWHERE);
  });

  test("at a port that is refused may search and say PING, and whatever it announces is in no list", async () => {
    const server = start();
    const door = openDoor(proves(KEY));
    const other = await dial(server);
    await join(other, door.port, KEY, "b.mp4");
    const gone = openDoor(() => "");
    gone.close();
    const raw = await dial(server);
    expect(await join(raw, gone.port, KEY, "a.mp4")).toBe(`JOIN_OK 127.0.0.1:${gone.port} unreachable`);
    raw.send(`PING\nUPDATE 1 ${ROOT} a.mp4\nOFFER 1 ${ROOT} c.mp4\nWITHDRAW c.mp4\nUPDATE 1 - a.mp4\n`);
    expect(await raw.lines(5)).toEqual(["PONG", "UPDATE_OK", "OFFER_OK", "WITHDRAW_OK", "UPDATE_OK"]);
    expect(await askList(raw, "SEARCH b.mp4")).toBe(`127.0.0.1:${door.port}\n`);
    for (const one of [raw, other]) {
      expect(await askList(one, "SEARCH a.mp4")).toBe("");
      expect(await askList(one, "FIND 0 10 a")).toBe("");
      expect(await askList(one, `SOURCES ${ROOT}`)).toBe(`127.0.0.1:${door.port} complete\n`);
    }
    raw.send("LEAVE\n");
    expect(await raw.line()).toBe("LEAVE_OK");
  });

  test("whose port is silent waits for so long, and nobody else does meanwhile", async () => {
    const clock = createVirtualClock();
    const server = start({ clock });
    const silent = openDoor(() => "");
    const raw = await dial(server);
    raw.send(`${joinOf(silent.port, KEY, ["a.mp4"])}PING\nSEARCH a.mp4\n`);
    await until("the server to ask", () => silent.asked.length > 0);
    const door = openDoor(proves(KEY));
    const quick = await dial(server);
    expect(await join(quick, door.port, KEY, "b.mp4")).toBe(`JOIN_OK 127.0.0.1:${door.port}`);
    expect(await askList(quick, "SEARCH b.mp4")).toBe(`127.0.0.1:${door.port}\n`);
    expect(raw.received).toBe(0);
    await clock.advance(PROBE_SECONDS_MAX * 1000);
    expect(await raw.lines(3)).toEqual([`JOIN_OK 127.0.0.1:${silent.port} unreachable`, "PONG", "SEARCH_OK 0"]);
  });

  test("and is reachable later joins again, and is listed then; the operator is told of it once", async () => {
    const server = start();
    const gone = openDoor(() => "");
    gone.close();
    const raw = await dial(server);
    for (let i = 0; i < 3; i++)
      expect(await join(raw, gone.port, KEY, "a.mp4")).toBe(`JOIN_OK 127.0.0.1:${gone.port} unreachable`);
    openDoor(proves(KEY), gone.port);
    expect(await join(raw, gone.port, KEY, "a.mp4")).toBe(`JOIN_OK 127.0.0.1:${gone.port}`);
    expect(await askList(raw, "SEARCH a.mp4")).toBe(`127.0.0.1:${gone.port}\n`);
    expect(server.events.filter(({ type }) => type === "joined")).toHaveLength(1);
  });

  test("and only asks is not told of, until it wants to be found; its SEARCH is", async () => {
    const server = start();
    const door = openDoor(proves(KEY));
    const raw = await dial(server);
    const told = () => server.events.map((event) => `${event.type} ${"name" in event ? event.name : ""}`.trim());
    for (let i = 0; i < 2; i++) expect(await join(raw, door.port, "-", "a.mp4")).toStartWith("JOIN_OK ");
    await askList(raw, "SEARCH b.mp4");
    expect(told()).toEqual(["searched b.mp4"]);
    expect(await join(raw, door.port, KEY, "a.mp4")).toBe(`JOIN_OK 127.0.0.1:${door.port}`);
    expect(told()).toEqual(["searched b.mp4", "joined"]);
  });

  test("is told of anew when its files are others, not when more is known of the same ones", async () => {
    const server = start();
    const gone = openDoor(() => "");
    gone.close();
    const raw = await dial(server);
    for (const payload of ["1 - a.mp4\n", `1 ${ROOT} a.mp4\n`, "1 - b.mp4\n"]) {
      raw.send(`JOIN 127.0.0.1:${gone.port} ${payload.length} ${KEY}\n${payload}`);
      expect(await raw.line()).toBe(`JOIN_OK 127.0.0.1:${gone.port} unreachable`);
    }
    const told = server.events.flatMap((event) => (event.type === "joined" ? [event.names] : []));
    expect(told).toEqual([["a.mp4"], ["b.mp4"]]);
  });

  test("is counted by the operator's tools as listed or not, and so is each dial", async () => {
    const server = start();
    const page = good(server.servidor.serveOperations({ ip: "127.0.0.1", port: 0 }));
    const metrics = async () => (await fetch(`http://127.0.0.1:${page.port}/metrics`)).text();
    const door = openDoor(proves(KEY));
    await join(await dial(server), door.port, KEY);
    await join(await dial(server), openDoor((line) => `${line}\n`).port, KEY);
    const asker = await watch(server);
    for (const line of ["napster_peers 1", "napster_unlisted_peers 2", 'napster_probes_total{outcome="reached"} 1'])
      expect(await metrics()).toContain(`${line}\n`);
    expect(await metrics()).toContain('napster_probes_total{outcome="unreached"} 1\n');
    asker.send("LEAVE\n");
    await asker.line();
    expect(await metrics()).toContain("napster_unlisted_peers 1\n");
  });

  test("and was reachable before is taken out of the lists when it joins again in vain", async () => {
    const server = start();
    const watcher = await watch(server);
    const door = openDoor(proves(KEY));
    const raw = await dial(server);
    await join(raw, door.port, KEY, "a.mp4");
    door.close();
    expect(await join(raw, door.port, KEY, "a.mp4")).toBe(`JOIN_OK 127.0.0.1:${door.port} unreachable`);
    expect(await lists(watcher)).toEqual(NOWHERE);
  });

  test("not to be listed is dialled by nobody, and keeps no address from anybody", async () => {
    const server = start();
    const door = openDoor(proves(KEY));
    const asker = await dial(server);
    expect(await join(asker, door.port, "-", "a.mp4")).toBe(`JOIN_OK 127.0.0.1:${door.port}`);
    expect(door.asked).toEqual([]);
    expect(await lists(asker)).toEqual(NOWHERE);
    const raw = await dial(server);
    expect(await join(raw, door.port, KEY, "a.mp4")).toBe(`JOIN_OK 127.0.0.1:${door.port}`);
    expect(await askList(asker, "SEARCH a.mp4")).toBe(`127.0.0.1:${door.port}\n`);
  });

  test("is listed when it is the server that cannot dial", async () => {
    const dead: Connect = async () => fault("PEER_UNREACHABLE", "ours", "EMFILE", true);
    const server = start({ connect: dead });
    const raw = await dial(server);
    expect(await join(raw, 5000, KEY, "a.mp4")).toBe("JOIN_OK 127.0.0.1:5000");
    expect(await askList(raw, "SEARCH a.mp4")).toBe("127.0.0.1:5000\n");
  });

  test("is listed undialled where the operator wants nobody dialled", async () => {
    const server = start({ probe: false });
    const door = openDoor(proves(KEY));
    const raw = await dial(server);
    expect(await join(raw, door.port, KEY, "a.mp4")).toBe(`JOIN_OK 127.0.0.1:${door.port}`);
    expect(door.asked).toEqual([]);
  });

  test("and is gone before the answer leaves nothing behind", async () => {
    const clock = createVirtualClock();
    const server = start({ clock });
    const watcher = await watch(server);
    const silent = openDoor(() => "");
    const raw = await dial(server);
    raw.send(joinOf(silent.port, KEY, ["a.mp4"]));
    await until("the server to ask", () => silent.asked.length > 0);
    raw.destroy();
    const again = await dial(server);
    const door = openDoor(proves(KEY));
    await join(again, door.port, KEY, "b.mp4");
    await clock.advance(PROBE_SECONDS_MAX * 1000);
    expect(await lists(watcher)).toEqual(["", `127.0.0.1:${door.port} complete\n`, ""]);
  });
});

describe("an address that another member has", () => {
  test("is the newcomer's when its key is proved there: the old one is dead, and hears why", async () => {
    const server = start();
    const watcher = await watch(server);
    const first = openDoor(proves(KEY));
    const dead = await dial(server);
    await join(dead, first.port, KEY, "a.mp4");
    first.close();
    openDoor(proves(OTHER_KEY), first.port);
    const newcomer = await dial(server);
    expect(await join(newcomer, first.port, OTHER_KEY, "b.mp4")).toBe(`JOIN_OK 127.0.0.1:${first.port}`);
    expect(await dead.rest()).toStartWith("ERROR ADDRESS_TAKEN retry ");
    expect(await askList(watcher, "SEARCH a.mp4")).toBe("");
    expect(await askList(watcher, "SEARCH b.mp4")).toBe(`127.0.0.1:${first.port}\n`);
    expect(server.events).toContainEqual({
      type: "left",
      address: { ip: "127.0.0.1", port: first.port },
      reason: "displaced",
    });
  });

  test("is its own again when it comes back before the server knows that it was gone", async () => {
    const server = start();
    const door = openDoor(proves(KEY));
    const before = await dial(server);
    await join(before, door.port, KEY, "a.mp4");
    const after = await dial(server);
    expect(await join(after, door.port, KEY, "a.mp4")).toBe(`JOIN_OK 127.0.0.1:${door.port}`);
    expect(await before.rest()).toStartWith("ERROR ADDRESS_TAKEN retry ");
    expect(await askList(after, "SEARCH a.mp4")).toBe(`127.0.0.1:${door.port}\n`);
  });

  test("stays the living one's, whatever key the newcomer says, and when it says none", async () => {
    const server = start();
    const door = openDoor(proves(KEY));
    const live = await dial(server);
    await join(live, door.port, KEY, "a.mp4");
    const thief = await dial(server);
    expect(await join(thief, door.port, OTHER_KEY, "b.mp4")).toStartWith("ERROR ADDRESS_TAKEN retry");
    expect(await join(thief, door.port, undefined, "b.mp4")).toStartWith("ERROR ADDRESS_TAKEN retry");
    expect(await askList(live, "SEARCH a.mp4")).toBe(`127.0.0.1:${door.port}\n`);
    expect(await askList(live, "SEARCH b.mp4")).toBe("");
  });

  test("is not lost to a broken JOIN, proved or not", async () => {
    const server = start();
    const door = openDoor(proves(KEY));
    const live = await dial(server);
    await join(live, door.port, KEY, "a.mp4");
    const other = await dial(server);
    expect(await join(other, door.port, KEY, "../b.mp4")).toStartWith("ERROR BAD_NAME");
    expect(await askList(live, "SEARCH a.mp4")).toBe(`127.0.0.1:${door.port}\n`);
  });
});

describe("limits and trust", () => {
  test("peersMax is how many may be in; one more may try until there is room", async () => {
    const server = start({ probe: false, limits: { peers: 2 } });
    const [one, two, three] = [await dial(server), await dial(server), await dial(server)];
    await join(one, 5001, undefined);
    expect(await join(two, 5002, "-")).toBe("JOIN_OK 127.0.0.1:5002");
    expect(await join(three, 5003, undefined)).toStartWith("ERROR TOO_MANY retry");
    expect(await join(one, 5004, undefined)).toBe("JOIN_OK 127.0.0.1:5004");
    one.send("LEAVE\n");
    expect(await one.line()).toBe("LEAVE_OK");
    expect(await join(three, 5003, undefined)).toBe("JOIN_OK 127.0.0.1:5003");
  });

  test("a JOIN that fails takes no place", async () => {
    const server = start({ probe: false, limits: { peers: 1 } });
    const [one, two] = [await dial(server), await dial(server)];
    expect(await join(one, 5001, undefined, "../x")).toStartWith("ERROR BAD_NAME");
    expect(await join(two, 5002, undefined)).toBe("JOIN_OK 127.0.0.1:5002");
  });

  test("only from a trusted range may another machine's address be declared, and that one is dialled", async () => {
    const dialled: string[] = [];
    const net: Connect = (to, open) => {
      dialled.push(`${to.ip}:${to.port}`);
      return connect({ ip: "127.0.0.1", port: to.port }, open);
    };
    const door = openDoor(proves(KEY));
    const far = `JOIN 203.0.113.9:${door.port} 0 ${KEY}\n`;
    const strict = await dial(start({ connect: net }));
    strict.send(far);
    expect(await strict.line()).toStartWith("ERROR ADDRESS_MISMATCH final");
    expect(dialled).toEqual([]);
    const trusting = await dial(start({ connect: net, trusted: [{ ip: "127.0.0.0", bits: 8 }] }));
    trusting.send(far);
    expect(await trusting.line()).toBe(`JOIN_OK 203.0.113.9:${door.port}`);
    expect(dialled).toEqual([`203.0.113.9:${door.port}`]);
    trusting.send(`JOIN 0.0.0.0:${door.port} 0 ${KEY}\n`);
    expect(await trusting.line()).toBe(`JOIN_OK 127.0.0.1:${door.port}`);
  });
});

describe("many probes", () => {
  const at = (ip: string, port = 1) => ({ ip, port });

  test("of one address wait for one another, and nobody else for them", async () => {
    const clock = createVirtualClock();
    const net = createNet();
    const probes = createReachability({ connect: net.connect, clock, newNonce: () => "0".repeat(32) });
    const silent = Array.from({ length: PROBES_PER_ADDRESS_MAX + 5 }, (_, i) =>
      probes.probe(at("10.0.0.1", i + 1), KEY),
    );
    expect(net.dialled.length).toBe(PROBES_PER_ADDRESS_MAX);
    const quick = probes.probe(at("10.0.0.2"), undefined);
    expect(net.dialled.length).toBe(PROBES_PER_ADDRESS_MAX + 1);
    await Promise.resolve();
    net.dialled.at(-1)?.say(`PROBE_OK ${"0".repeat(32)}\n`);
    expect(await quick.outcome).toBe("reached");
    await clock.advance(PROBE_SECONDS_MAX * 1000);
    expect(net.dialled.length).toBe(PROBES_PER_ADDRESS_MAX + 6);
    await clock.advance(PROBE_SECONDS_MAX * 1000);
    expect(new Set(await Promise.all(silent.map(({ outcome }) => outcome)))).toEqual(new Set(["unreached"]));
    for (const { state } of net.dialled) expect(state).toBe("closed");
  });

  test("of silent ports, again and again, do not keep an honest one of the same address waiting", async () => {
    const clock = createVirtualClock();
    const net = createNet();
    const nonce = "0".repeat(32);
    const connect: Connect = async (to, open, signal) => {
      const dialling = net.connect(to, open, signal);
      const far = net.dialled.at(-1);
      const connection = await dialling;
      if (to.port === 50_000) queueMicrotask(() => far?.say(`PROBE_OK ${nonce}\n`));
      return connection;
    };
    const probes = createReachability({ connect, clock, newNonce: () => nonce });
    let isOver = false;
    const insist = async (port: number): Promise<void> => {
      while (!isOver) expect(await probes.probe(at("10.0.0.1", port), KEY).outcome).toBe("unreached");
    };
    const silent = Array.from({ length: 3 * PROBES_PER_ADDRESS_MAX }, (_, i) => insist(i + 1));
    await clock.advance(PROBE_SECONDS_MAX * 2000 + 100);
    const honest = probes.probe(at("10.0.0.1", 50_000), undefined);
    const before = clock.now();
    let answered: string | undefined;
    void honest.outcome.then((probed) => {
      answered = probed;
    });
    while (answered === undefined) await clock.advance(50);
    expect(answered).toBe("reached");
    expect(clock.now() - before).toBeLessThanOrEqual(2000);
    isOver = true;
    await clock.advance(PROBE_SECONDS_MAX * 3000);
    await Promise.all(silent);
    expect(clock.pending).toBe(0);
  });

  test("that nobody waits for are not dialled any more, or dropped at once", async () => {
    const clock = createVirtualClock();
    const net = createNet();
    const probes = createReachability({ connect: net.connect, clock, newNonce: () => "0".repeat(32) });
    const all = Array.from({ length: PROBES_PER_ADDRESS_MAX + 1 }, () => probes.probe(at("10.0.0.1"), KEY));
    for (const { cancel } of all.reverse()) cancel();
    expect(await Promise.all(all.map(({ outcome }) => outcome))).toEqual(all.map(() => "unknown"));
    expect(net.dialled.length).toBe(PROBES_PER_ADDRESS_MAX);
    for (const { state } of net.dialled) expect(state).toBe("closed");
  });
});

describe("a dead peer whose last JOIN is still being taken", () => {
  test("is displaced all the same, once that is done", async () => {
    let key = KEY;
    const door = openDoor((line) => `PROBE_OK ${proofOf(key, nonceOf(line))}\n`);
    const server = start();
    const [dead, back] = [await dial(server), await dial(server)];
    const names = Array.from({ length: 100_000 }, (_, i) => `1 - ${i}.mp4\n`).join("");
    dead.send(`JOIN 127.0.0.1:${door.port} 10 ${KEY}\n1 - a.mp4\n`);
    expect(await dead.line()).toBe(`JOIN_OK 127.0.0.1:${door.port}`);
    dead.send(`JOIN 127.0.0.1:${door.port} ${names.length} ${KEY}\n${names}`);
    await until("the second dial", () => door.asked.length === 2);
    key = OTHER_KEY;
    back.send(`JOIN 127.0.0.1:${door.port} 10 ${OTHER_KEY}\n1 - b.mp4\nSEARCH a.mp4\nSEARCH 5.mp4\nSEARCH b.mp4\n`);
    expect(await back.line()).toBe(`JOIN_OK 127.0.0.1:${door.port}`);
    expect(await back.lines(3)).toEqual(["SEARCH_OK 0", "SEARCH_OK 0", expect.stringMatching(/^SEARCH_OK 1/)]);
    expect(await dead.rest()).toContain("ERROR ADDRESS_TAKEN retry another peer has proved");
  });
});

describe("two that go to each other's places at once", () => {
  test("are both answered, and leave nothing behind", async () => {
    let keys = [KEY, OTHER_KEY];
    const doors = [0, 1].map((i) => openDoor((line) => `PROBE_OK ${proofOf(keys[i], nonceOf(line))}\n`));
    const [here, there] = doors.map(({ port }) => port);
    const server = start();
    const [one, other] = [await dial(server), await dial(server)];
    one.send(`JOIN 127.0.0.1:${here} 10 ${KEY}\n1 - a.mp4\n`);
    other.send(`JOIN 127.0.0.1:${there} 10 ${OTHER_KEY}\n1 - b.mp4\n`);
    for (const raw of [one, other]) expect(await raw.line()).toStartWith("JOIN_OK");
    keys = [OTHER_KEY, KEY];
    const names = Array.from({ length: 50_000 }, (_, i) => `1 - ${i}.mp4\n`).join("");
    one.send(`JOIN 127.0.0.1:${there} ${names.length} ${KEY}\n${names}`);
    other.send(`JOIN 127.0.0.1:${here} ${names.length} ${OTHER_KEY}\n${names}`);
    for (const raw of [one, other]) expect(await raw.line()).toMatch(/^(JOIN_OK|ERROR ADDRESS_TAKEN retry)/);
    for (const raw of [one, other]) raw.destroy();
    const last = await dial(server);
    last.send("JOIN 127.0.0.1:9 0 -\n");
    await last.line();
    await until("both to be forgotten", async () => {
      last.send("SEARCH 5.mp4\n");
      const [, length] = (await last.line()).split(" ");
      await last.bytes(Number(length));
      return length === "0";
    });
  });
});

describe("a dial that nobody waits for any more", () => {
  const at = { ip: "127.0.0.1", port: 5001 };

  test("is called off, whether its time is over or who joined is gone", async () => {
    const clock = createVirtualClock();
    const signals: (AbortSignal | undefined)[] = [];
    const silent: Connect = (_to, _open, signal) => {
      signals.push(signal);
      return new Promise(() => {});
    };
    const probes = createReachability({ connect: silent, clock, newNonce: () => KEY });
    const [late, gone] = [probes.probe(at, KEY), probes.probe(at, KEY)];
    gone.cancel();
    expect(await gone.outcome).toBe("unknown");
    expect(signals.map((signal) => signal?.aborted)).toEqual([false, true]);
    await clock.advance(PROBE_SECONDS_MAX * 1000);
    expect(await late.outcome).toBe("unreached");
    expect(signals.map((signal) => signal?.aborted)).toEqual([true, true]);
  });

  test("opens nothing, and ends", async () => {
    const door = openDoor(() => "");
    const calledOff = new AbortController();
    const opened = dialProbe({ ip: "127.0.0.1", port: door.port }, () => expect.unreachable(), calledOff.signal);
    calledOff.abort();
    expect(await opened).toMatchObject({ fault: "PEER_UNREACHABLE", whose: "network" });
    const never = dialProbe(at, () => expect.unreachable(), AbortSignal.abort());
    expect(await never).toMatchObject({ fault: "PEER_UNREACHABLE" });
    expect(door.asked).toEqual([]);
  });
});
