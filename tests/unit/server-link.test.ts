// A peer's one connection to the server, in virtual time and over a network in memory.
// Invariant: after any loss the link is back by itself, with all that the peer shares by then.
// Never: waits for time to pass.

import { beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { LINK_TABLE, type LinkEvent, type LinkState } from "../../src/peer/link-state.ts";
import { createServerLink, type ServerLink } from "../../src/peer/server-link.ts";
import type { Address } from "../../src/protocol/address.ts";
import {
  IDLE_SECONDS_MAX,
  LASTED_SECONDS_MIN,
  PING_SECONDS,
  RECONNECT_AFTER_SHUTDOWN_MS,
  RECONNECT_MS_MAX,
  RECONNECT_MS_MIN,
  REPLY_SECONDS_MAX,
  RETURN_SECONDS_MAX,
} from "../../src/protocol/limits.ts";
import type { Share } from "../../src/protocol/messages.ts";
import { createRandom } from "../simulation/random.ts";
import { createVirtualClock, turn, type VirtualClock } from "../support/clock.ts";
import { codeOf, good } from "../support/good.ts";
import { createNet, type FarEnd, type Net } from "../support/net.ts";

setDefaultTimeout(60_000);

const SERVER: Address = { ip: "127.0.0.1", port: 1099 };
const HERE: Address = { ip: "127.0.0.1", port: 9001 };
const THERE: Address = { ip: "127.0.0.1", port: 9002 };

let clock: VirtualClock;
let net: Net;
let link: ServerLink;
let shares: Share[];
let told: string[];

beforeEach(() => {
  clock = createVirtualClock();
  net = createNet();
  shares = [{ name: "a.mp4", size: 1, root: undefined }];
  told = [];
  link = createServerLink({
    server: SERVER,
    env: { connect: net.connect, clock, random: () => 0.5 },
    shares: () => shares,
    onLost: () => told.push("lost"),
    onBack: (address) => told.push(`back ${address.port}`),
  });
});

const last = (): FarEnd => net.dialled.at(-1) as FarEnd;

/** Joins, the server answering as it should. */
async function joined(at = HERE): Promise<FarEnd> {
  const joining = link.join(at);
  await turn();
  last().say(
    `${net.dialled.length > 0 && last().sent.includes("HELLO") ? "HELLO 1\n" : ""}JOIN_OK ${at.ip}:${at.port}\n`,
  );
  expect(good(await joining).address).toEqual(at);
  last().take();
  return last();
}

/** Time passes until the link has dialled again. */
async function redialled(count: number): Promise<FarEnd> {
  for (let waited = 0; net.dialled.length < count && waited <= 3 * RECONNECT_MS_MAX; waited += 100)
    await clock.advance(100);
  expect(net.dialled.length).toBe(count);
  return last();
}

describe("a JOIN", () => {
  test("a JOIN says HELLO, the address and every share, and waits for JOIN_OK (SPEC 5.b)", async () => {
    shares.push({ name: "b c.mp4", size: 2, root: "ab".repeat(32) });
    const joining = link.join(HERE);
    await turn();
    const payload = `1 - a.mp4\n2 ${"ab".repeat(32)} b c.mp4\n`;
    expect(last().sent).toBe(`HELLO 1\nJOIN 127.0.0.1:9001 ${payload.length}\n${payload}`);
    last().say("HELLO 1\nJOIN_OK 127.0.0.1:9001\n");
    expect(good(await joining).address).toEqual(HERE);
  });

  test("a JOIN is SERVER_UNREACHABLE when no server listens, and nothing is tried again", async () => {
    net.up = false;
    expect(codeOf(await link.join(HERE))).toBe("SERVER_UNREACHABLE");
    net.up = true;
    await clock.advance(60_000);
    expect(net.dialled.length).toBe(0);
  });

  test("a JOIN is SERVER_GONE when the server hangs up, or says nothing for REPLY_SECONDS_MAX", async () => {
    const first = link.join(HERE);
    await turn();
    last().close();
    expect(codeOf(await first)).toBe("SERVER_GONE");
    const second = link.join(HERE);
    await turn();
    await clock.advance(REPLY_SECONDS_MAX * 1000);
    expect(codeOf(await second)).toBe("SERVER_GONE");
    expect(told).toEqual([]);
  });

  test("a JOIN that the server refuses is its fault, and the connection is given up", async () => {
    const joining = link.join(HERE);
    await turn();
    last().say("HELLO 1\nERROR ADDRESS_TAKEN retry taken\n");
    expect(codeOf(await joining)).toBe("ADDRESS_TAKEN");
    expect(last().state).not.toBe("open");
    expect(codeOf(await link.call({ verb: "PING" }))).toBe("NOT_JOINED");
  });

  test("a JOIN again moves over the same connection; refused, it stays where it was", async () => {
    const far = await joined();
    const moving = link.join(THERE);
    await turn();
    expect(far.take()).toContain("JOIN 127.0.0.1:9002 ");
    far.say("HELLO 1\nERROR ADDRESS_TAKEN retry taken\n");
    expect(codeOf(await moving)).toBe("ADDRESS_TAKEN");
    expect(far.state).toBe("open");
    far.close();
    expect((await redialled(2)).sent).toContain("JOIN 127.0.0.1:9001 ");
  });
});

describe("a call", () => {
  const SEARCH = { verb: "SEARCH", name: "a" } as const;

  test("a call before JOIN is NOT_JOINED, while the server is away SERVER_GONE", async () => {
    expect(codeOf(await link.call(SEARCH))).toBe("NOT_JOINED");
    const far = await joined();
    const call = link.call({ verb: "WITHDRAW", name: "a" });
    far.close();
    expect(codeOf(await call)).toBe("SERVER_GONE");
    expect(codeOf(await link.call({ verb: "WITHDRAW", name: "a" }))).toBe("SERVER_GONE");
  });

  test("a call that asks waits for a server that comes back, whether it was asked before or after the loss", async () => {
    const far = await joined();
    const before = link.call(SEARCH);
    far.close();
    await turn();
    const after = link.call({ verb: "SOURCES", root: "ab".repeat(32) });
    const back = await redialled(2);
    expect(back.sent).not.toContain("SEARCH");
    back.say("HELLO 1\nJOIN_OK 127.0.0.1:9001\n");
    await turn();
    expect(back.sent).toEndWith(`SEARCH a\nSOURCES ${"ab".repeat(32)}\n`);
    back.say("SEARCH_OK 0\nSOURCES_OK 0\n");
    expect(codeOf(await before)).toBe("no fault");
    expect(codeOf(await after)).toBe("no fault");
  });

  test("a call that asks ends after RETURN_SECONDS_MAX without a server, and at once when we leave", async () => {
    const far = await joined();
    net.up = false;
    far.close();
    await turn();
    let answer = "none";
    void link.call(SEARCH).then((fault) => {
      answer = codeOf(fault);
    });
    await clock.advance(RETURN_SECONDS_MAX * 1000 - 1);
    expect(answer).toBe("none");
    await clock.advance(1);
    expect(answer).toBe("SERVER_GONE");
    const leaving = link.call(SEARCH);
    await link.leave();
    expect(codeOf(await leaving)).toBe("SERVER_GONE");
    expect(codeOf(await link.call(SEARCH))).toBe("NOT_JOINED");
  });

  test("a call made while a JOIN is under way goes behind it, so that no share is lost between the two", async () => {
    const joining = link.join(HERE);
    await turn();
    const updating = link.call({ verb: "UPDATE", share: { name: "new.mp4", size: 3, root: undefined } });
    expect(last().sent).toEndWith("UPDATE 3 - new.mp4\n");
    last().say("HELLO 1\nJOIN_OK 127.0.0.1:9001\nUPDATE_OK\n");
    good(await joining);
    expect(codeOf(await updating)).toBe("no fault");
  });

  test("a call made while the link comes back goes behind the JOIN too", async () => {
    (await joined()).close();
    const far = await redialled(2);
    const updating = link.call({ verb: "UPDATE", share: { name: "new.mp4", size: 3, root: undefined } });
    expect(far.sent).toEndWith("UPDATE 3 - new.mp4\n");
    far.say("HELLO 1\nJOIN_OK 127.0.0.1:9001\nUPDATE_OK\n");
    expect(codeOf(await updating)).toBe("no fault");
  });
});

describe("the link", () => {
  test("the link says PING every PING_SECONDS, well before the server would forget us", async () => {
    const far = await joined();
    for (let i = 0; i < 5; i++) {
      await clock.advance(PING_SECONDS * 1000);
      expect(far.take()).toBe("PING\n");
      far.say("PONG\n");
    }
    expect(PING_SECONDS * 2).toBeLessThan(IDLE_SECONDS_MAX);
    expect(told).toEqual([]);
  });

  test("the link notices within a PING and its deadline that the server has vanished", async () => {
    await joined();
    await clock.advance((PING_SECONDS + REPLY_SECONDS_MAX) * 1000);
    expect(told).toEqual(["lost"]);
  });

  test("the link joins again by itself when the server comes back, with what is shared by then", async () => {
    const far = await joined();
    net.up = false;
    far.close();
    await clock.advance(60_000);
    expect(told).toEqual(["lost"]);
    shares.push({ name: "downloaded meanwhile.mp4", size: 5, root: undefined });
    net.up = true;
    const back = await redialled(2);
    expect(back.sent).toContain("JOIN 127.0.0.1:9001 ");
    expect(back.sent).toContain("5 - downloaded meanwhile.mp4\n");
    back.say("HELLO 1\nJOIN_OK 127.0.0.1:9001\n");
    await turn();
    expect(told).toEqual(["lost", "back 9001"]);
    const call = link.call({ verb: "PING" });
    back.say("PONG\n");
    expect(codeOf(await call)).toBe("no fault");
  });

  test("the link tries again when the server takes the JOIN badly, however often", async () => {
    (await joined()).close();
    for (let i = 2; i < 8; i++) {
      (await redialled(i)).say("HELLO 1\nERROR ADDRESS_TAKEN retry not yet\n");
      await turn();
      expect(last().state).not.toBe("open");
    }
    (await redialled(8)).say("HELLO 1\nJOIN_OK 127.0.0.1:9001\n");
    await turn();
    expect(told).toEqual(["lost", "back 9001"]);
  });

  test("the link waits longer and longer, up to RECONNECT_MS_MAX, each wait partly random", async () => {
    const waits: number[] = [];
    let failedAt = 0;
    const connect: Net["connect"] = async (to, open) => {
      if (net.up) return net.connect(to, open);
      waits.push(clock.now() - failedAt);
      failedAt = clock.now();
      return net.connect(to, open);
    };
    const refusing = createServerLink({
      server: SERVER,
      env: { connect, clock, random: () => 0.5 },
      shares: () => shares,
      onLost: () => undefined,
      onBack: () => undefined,
    });
    link = refusing;
    const far = await joined();
    net.up = false;
    far.close();
    await clock.advance(60_000);
    // Three quarters of each: half is fixed, half is the random part.
    const longest = RECONNECT_MS_MAX * 0.75;
    expect(waits.slice(0, 8)).toEqual([187.5, 375, 750, 1500, 3000, longest, longest, longest]);
  });

  /** JOINs said in so many seconds to a server that says JOIN_OK and hangs up after `lasting` ms. */
  async function joinsOf(seconds: number, lasting: number): Promise<number> {
    let answered = net.dialled.length;
    for (let waited = 0; waited < seconds * 1000; waited += 50) {
      await clock.advance(50);
      if (net.dialled.length === answered) continue;
      answered = net.dialled.length;
      const far = last();
      far.say("HELLO 1\nJOIN_OK 127.0.0.1:9001\n");
      const hangUp = () => far.close();
      if (lasting === 0) hangUp();
      else clock.after(lasting, hangUp);
      await turn();
    }
    return answered - 1;
  }

  for (const lasting of [0, 200, 1000, LASTED_SECONDS_MIN * 1000 - 1])
    test(`the link waits longer and longer for a server that says JOIN_OK and hangs up after ${lasting} ms`, async () => {
      (await joined()).close();
      const cycle = (0.75 * RECONNECT_MS_MAX + lasting) / 1000;
      expect(await joinsOf(120, lasting)).toBeLessThanOrEqual(6 + 120 / cycle);
    });

  test("the link waits as at first once a connection has lasted", async () => {
    (await joined()).close();
    await joinsOf(60, 0);
    const back = await redialled(net.dialled.length + 1);
    back.say("HELLO 1\nJOIN_OK 127.0.0.1:9001\n");
    for (let second = 0; second < LASTED_SECONDS_MIN; second += 5) {
      await clock.advance(5000);
      back.say("PONG\n".repeat(back.take().split("PING").length - 1));
    }
    const count = net.dialled.length;
    back.close();
    await clock.advance(RECONNECT_MS_MIN);
    expect(net.dialled.length).toBe(count + 1);
  });

  test("the link that is joined elsewhere while a return fails has one connection and one plan", async () => {
    const far = await joined();
    far.close();
    const returning = await redialled(2);
    const moving = link.join(THERE);
    await turn();
    returning.say("HELLO 1\nERROR ADDRESS_TAKEN retry not yet\n");
    await turn();
    last().say("HELLO 1\nJOIN_OK 127.0.0.1:9002\n");
    expect(good(await moving).address).toEqual(THERE);
    const count = net.dialled.length;
    for (let second = 0; second < 60; second += 5) {
      await clock.advance(5000);
      last().say("PONG\n".repeat(last().take().split("PING").length - 1));
    }
    expect(net.dialled.length).toBe(count);
    expect(net.dialled.filter(({ state }) => state === "open").length).toBe(1);
  });

  test("the link gives a server that says it is stopping time to start again, and spreads the return of many", async () => {
    const far = await joined();
    far.say("ERROR SHUTTING_DOWN retry the server is stopping\n");
    far.close();
    await clock.advance(RECONNECT_AFTER_SHUTDOWN_MS / 2);
    expect(net.dialled.length).toBe(1);
    await clock.advance(RECONNECT_AFTER_SHUTDOWN_MS / 4); // random() is a half
    expect(net.dialled.length).toBe(2);
  });

  test("the link keeps one connection only: a JOIN by the person while it comes back leaves no ghost", async () => {
    (await joined()).close();
    const returning = await redialled(2); // the link's own JOIN, not answered yet
    const moving = link.join(THERE);
    await turn();
    returning.say("HELLO 1\nJOIN_OK 127.0.0.1:9001\n");
    await turn();
    last().say("HELLO 1\nJOIN_OK 127.0.0.1:9002\n");
    expect(good(await moving).address).toEqual(THERE);
    const open = net.dialled.filter(({ state }) => state === "open");
    expect(open.length).toBe(1);
    await clock.advance(PING_SECONDS * 1000);
    expect((open[0] as FarEnd).sent).toContain("PING\n");
    (open[0] as FarEnd).close();
    const count = net.dialled.length;
    expect((await redialled(count + 1)).sent).toContain("JOIN 127.0.0.1:9002 ");
  });

  test("the link leaves with LEAVE, and never comes back", async () => {
    const far = await joined();
    const leaving = link.leave();
    expect(far.take()).toBe("LEAVE\n");
    far.say("LEAVE_OK\n");
    await leaving;
    far.close();
    await clock.advance(60_000);
    expect(net.dialled.length).toBe(1);
    expect(told).toEqual([]);
  });

  test("the link leaves within two seconds although the server says nothing", async () => {
    await joined();
    const leaving = link.leave();
    await clock.advance(2000);
    await leaving;
    expect(last().state).not.toBe("open");
  });

  test("the link that is left while it comes back stays away, also when its JOIN is answered later", async () => {
    (await joined()).close();
    const returning = await redialled(2);
    await link.leave();
    returning.say("HELLO 1\nJOIN_OK 127.0.0.1:9001\n");
    await turn();
    expect(returning.state).not.toBe("open");
    await clock.advance(60_000);
    expect(net.dialled.length).toBe(2);
    expect(told).toEqual(["lost"]);
  });
});

describe("a peer that others cannot reach", () => {
  const KEY = "0123456789abcdef".repeat(2);
  const keyed = (): ServerLink =>
    createServerLink({
      server: SERVER,
      env: { connect: net.connect, clock, random: () => 0.5 },
      shares: () => shares,
      key: KEY,
      onLost: () => told.push("lost"),
      onBack: (address) => told.push(`back ${address.port}`),
      onListed: () => told.push("listed"),
      onReach: (reached) => told.push(reached ? "reached" : "unreached"),
    });
  /** The server answers what it was asked: a JOIN in this way, anything else as ever. */
  const reply = (far: FarEnd, how: string): string => {
    const sent = far.take();
    if (sent.includes("HELLO")) far.say("HELLO 1\n");
    if (sent.includes("JOIN")) far.say(`JOIN_OK 127.0.0.1:9001${how}\n`);
    if (sent.includes("PING")) far.say("PONG\n");
    return sent;
  };
  /** When, in seconds from now, each JOIN was said, the server answering all of them so. */
  async function joinsWithin(seconds: number, how: string): Promise<number[]> {
    const at: number[] = [];
    for (let second = 1; second <= seconds; second++) {
      await clock.advance(1000);
      if (reply(last(), how).includes("JOIN")) at.push(second);
      await turn();
    }
    return at;
  }

  async function enter(how: string, listing?: "later" | "never"): Promise<string> {
    link = keyed();
    const joining = link.join(HERE, { listing });
    await turn();
    const sent = reply(last(), how);
    expect(good(await joining)).toEqual({ address: HERE, reached: how === "" });
    return sent;
  }

  test("a peer that others cannot reach says its key, is told, and asks again after 5 s, doubling up to 5 min, until it is listed; told once", async () => {
    expect(await enter(" unreachable")).toContain(`JOIN 127.0.0.1:9001 10 ${KEY}\n`);
    expect(await joinsWithin(1000, " unreachable")).toEqual([5, 15, 35, 75, 155, 315, 615, 915]);
    expect(told).toEqual([]);
    expect(await joinsWithin(300, "")).toEqual([215]);
    expect(told).toEqual(["listed", "reached"]);
    expect(await joinsWithin(700, "")).toEqual([]);
  });

  test("a peer that others cannot reach joins where the person says at once, and asks again from there", async () => {
    await enter(" unreachable");
    await joinsWithin(30, " unreachable");
    const moving = link.join(HERE);
    await turn();
    reply(last(), " unreachable");
    await moving;
    expect(await joinsWithin(20, " unreachable")).toEqual([5, 15]);
    const leaving = link.leave();
    last().say("LEAVE_OK\n");
    await leaving;
    expect(await joinsWithin(600, "")).toEqual([]);
  });

  test("a peer that others cannot reach may be moved while it asks again, and what comes of that does not stand in the way", async () => {
    await enter(" unreachable");
    await clock.advance(5000);
    const asked = last().take();
    expect(asked).toContain("JOIN 127.0.0.1:9001");
    const moving = link.join(HERE, { listing: "never" });
    await turn();
    last().say("HELLO 1\nJOIN_OK 127.0.0.1:9001 unreachable\n");
    await turn();
    last().say("HELLO 1\nJOIN_OK 127.0.0.1:9001\n");
    expect(good(await moving).reached).toBe(true);
    last().take();
    expect(await joinsWithin(600, "")).toEqual([]);
  });

  test("a peer that others cannot reach hears of it when it comes back to a server, and only when it is news", async () => {
    await enter("");
    last().close();
    reply(await redialled(2), " unreachable");
    await turn();
    expect(told).toEqual(["lost", "back 9001", "unreached"]);
    last().close();
    reply(await redialled(3), " unreachable");
    await turn();
    expect(told).toEqual(["lost", "back 9001", "unreached", "lost", "back 9001"]);
    last().close();
    reply(await redialled(4), "");
    await turn();
    expect(told.slice(5)).toEqual(["lost", "back 9001", "reached"]);
    expect(await joinsWithin(600, "")).toEqual([]);
  });

  test("a peer that others cannot reach and that came to ask is not listed; one that came for a file, a little later", async () => {
    expect(await enter("", "never")).toContain("JOIN 127.0.0.1:9001 10 -\n");
    expect(await joinsWithin(600, "")).toEqual([]);
    last().close();
    expect(reply(await redialled(2), "")).toContain(" -\n");
    await link.leave();
    told.length = 0;
    expect(await enter("", "later")).toContain(" -\n");
    await clock.advance(1000);
    expect(reply(last(), "")).toContain(` ${KEY}\n`);
    await turn();
    expect(told).toEqual(["listed"]);
    expect(await joinsWithin(600, "")).toEqual([]);
  });
});

describe("the table of the link", () => {
  const STATES = Object.keys(LINK_TABLE) as LinkState[];

  test("every state can be left, is reached from out, and ends in out by leave", () => {
    const reached = new Set<LinkState>(["out"]);
    for (const state of reached) for (const next of Object.values(LINK_TABLE[state])) reached.add(next);
    expect([...reached].sort()).toEqual([...STATES].sort());
    for (const state of STATES) expect(LINK_TABLE[state].leave).toBe("out");
  });

  // Whatever comes in whatever order, as a peer, a person, a server and a network may do it.
  for (const seed of [...Array(40).keys(), 462, 1289, 1590])
    test(`walked at random keeps one connection and one plan, seed ${seed}`, async () => {
      const random = createRandom(seed).next;
      const pick = <T>(things: readonly T[]): T => things[Math.floor(random() * things.length)] as T;
      let wanted: Address | undefined;
      let lefts = 0;
      const open = () => net.dialled.filter(({ state }) => state === "open");
      /** The last server hears all and answers JOIN in one of these ways. */
      const answer = (how: string) => {
        for (const far of open()) {
          const sent = far.take();
          if (sent.includes("HELLO")) far.say("HELLO 1\n");
          const port = /JOIN 127.0.0.1:(\d+)/.exec(sent)?.[1];
          if (port !== undefined) far.say(how.replace("PORT", port));
          if (sent.includes("PING")) far.say("PONG\n");
          if (sent.includes("LEAVE")) far.say("LEAVE_OK\n");
        }
      };
      const OK = "JOIN_OK 127.0.0.1:PORT\n";
      const events: Record<string, () => unknown> = {
        join: () => {
          const to = pick([HERE, THERE]);
          const before = lefts;
          void link.join(to, { listing: pick(["now", "later"] as const) }).then((entered) => {
            if ("address" in entered && before === lefts) wanted = to;
          });
        },
        leave: () => {
          wanted = undefined;
          lefts++;
          void link.leave();
        },
        accept: () => answer(OK),
        unreached: () => answer("JOIN_OK 127.0.0.1:PORT unreachable\n"),
        refuse: () => answer("ERROR ADDRESS_TAKEN retry taken\n"),
        break: () => void open().forEach((far) => void far.close()),
        flap: () => {
          answer(OK);
          for (const far of open()) far.close();
        },
        down: () => {
          net.up = !net.up;
        },
        time: () => clock.advance(pick([10, 300, 3000, 12_000])),
      };
      for (let step = 0; step < 400; step++) {
        const name = pick(Object.keys(events).filter((event) => event !== "leave" || random() < 0.1));
        await events[name]?.();
        if (random() < 0.7) await turn();
        expect(open().length).toBeLessThanOrEqual(1);
        // The PING or the return; a relisting besides; and the deadlines of what is asked.
        expect(clock.pending).toBeLessThanOrEqual(12);
      }
      // In the end a good network and server: the peer is where it was last taken, and stays there.
      net.up = true;
      for (let waited = 0; waited < 60; waited++) {
        await clock.advance(1000);
        answer(OK);
        await turn();
      }
      expect(open().length).toBe(wanted === undefined ? 0 : 1);
      const count = net.dialled.length;
      for (let waited = 0; waited < 60; waited++) {
        await clock.advance(5000);
        answer(OK);
      }
      expect(net.dialled.length).toBe(count);
      if (wanted === undefined) return;
      last().close();
      expect((await redialled(count + 1)).sent).toContain(`JOIN ${wanted.ip}:${wanted.port} `);
    });

  test("names what cannot happen: no JOIN begins while another is under way", () => {
    const events: LinkEvent[] = ["join"];
    for (const state of ["entering", "moving", "returning"] as const)
      for (const event of events) expect(LINK_TABLE[state][event]).toBeUndefined();
  });
});
