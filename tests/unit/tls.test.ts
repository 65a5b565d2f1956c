// Encrypted connections: who is let in, who is believed, and what a handshake may cost.
// Invariant: everything listens on port 0 of loopback, where a laboratory's policy encrypts too; deadlines stand on a clock of their own.
// Never: waits for time to pass.

import { describe, expect, setDefaultTimeout, test } from "bun:test";
import * as tls from "node:tls";
import type { Address } from "../../src/protocol/address.ts";
import {
  HANDSHAKE_SECONDS_MAX,
  HANDSHAKES_MAX,
  HANDSHAKES_PER_ADDRESS_MAX,
  HANDSHAKES_PER_SECOND_MAX,
} from "../../src/protocol/limits.ts";
import type { Connection, Handlers, Listener } from "../../src/transport/connection.ts";
import { createDialProbe } from "../../src/transport/dial-probe.ts";
import { listenEverywhere } from "../../src/transport/every-address.ts";
import { createHandshakes } from "../../src/transport/handshake.ts";
import { isSecure, newSecurity } from "../../src/transport/security.ts";
import { createTcp, type Tcp } from "../../src/transport/tcp.ts";
import { createVirtualClock } from "../support/clock.ts";
import { closeAfterTest } from "../support/closing.ts";
import { codeOf, good } from "../support/good.ts";
import { openRaw } from "../support/raw.ts";
import { until } from "../support/until.ts";

setDefaultTimeout(60_000);

// A P-256 key and its certificate, made by openssl for this test alone.
const WEB_KEY = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgsd4BH9HzK6351I55
Lfw0zHeGdsp3Tp6OI8S1xRGeM7KhRANCAAS2SLVZe2FYsc6E7QYuV0ttgO1YY3sG
WhmTFWsCG7kz+g9WUbU+iSnR24a+IkxLbb2WwHxtsYYHi4rQQThZMqfK
-----END PRIVATE KEY-----`;
const WEB_CERTIFICATE = `-----BEGIN CERTIFICATE-----
MIIBejCCASGgAwIBAgIUWKM1snUBEOOZ+2SZAtiQYTioQF0wCgYIKoZIzj0EAwIw
EjEQMA4GA1UEAwwHbmFwc3RlcjAgFw0yNjExMjQxODI1MzJaGA8yMTI2MTAzMTE4
MjUzMlowEjEQMA4GA1UEAwwHbmFwc3RlcjBZMBMGByqGSM49AgEGCCqGSM49AwEH
A0IABLZItVl7YVixzoTtBi5XS22A7VhjewZaGZMVawIbuTP6D1ZRtT6JKdHbhr4i
TEttvZbAfG2xhgeLitBBOFkyp8qjUzBRMB0GA1UdDgQWBBTqT5K0LJ+HK+iW6cEn
vkE+2XdczjAfBgNVHSMEGDAWgBTqT5K0LJ+HK+iW6cEnvkE+2XdczjAPBgNVHRMB
Af8EBTADAQH/MAoGCCqGSM49BAMCA0cAMEQCIDWCYzV/indu1Z2bE98hFrllYM57
er80JHeEhNV+JBW1AiAgTgEZfYyY9RqCeMII8vb/+1sSK2OmOFj3f2vU1hF6vQ==
-----END CERTIFICATE-----`;
const ANY: Address = { ip: "127.0.0.1", port: 0 };
const US = newSecurity("always");
const THEM = newSecurity("always");
const tcp = createTcp(US);
const theirs = createTcp(THEM);

type Seen = { readonly connection: Connection; text: string; bytes: number; readonly events: string[] };

/** Handlers that note what they are told. */
function noting(all: Seen[]): (connection: Connection) => Handlers {
  return (connection) => {
    const seen: Seen = { connection, text: "", bytes: 0, events: [] };
    all.push(seen);
    closeAfterTest(() => connection.destroy());
    return {
      data(chunk) {
        seen.bytes += chunk.length;
        if (seen.bytes < 1000) seen.text += new TextDecoder().decode(chunk);
      },
      drain: () => void seen.events.push("drain"),
      end: () => void seen.events.push("end"),
      close: () => void seen.events.push("close"),
    };
  };
}

function listening(network: Tcp = tcp): { at: Address; accepted: Seen[] } {
  const accepted: Seen[] = [];
  const listener = good(network.listen(ANY, noting(accepted)));
  closeAfterTest(() => listener.close());
  return { at: listener.address, accepted };
}

async function dial(to: Address, network: Tcp = theirs): Promise<Seen> {
  const all: Seen[] = [];
  good(await network.connect(to, noting(all)));
  return all[0] as Seen;
}

/** Listens with none of our code, and answers each chunk with `answer`. */
function listenBare(
  answer: (socket: { write(text: string): unknown; end(): unknown }, chunk: Buffer) => void,
): Address {
  const listener = Bun.listen({
    hostname: ANY.ip,
    port: 0,
    socket: { data: (socket, chunk) => answer(socket, chunk) },
  });
  closeAfterTest(() => listener.stop(true));
  return { ip: ANY.ip, port: listener.port };
}

describe("the policy", () => {
  test("the address alone decides: 127.0.0.0/8 is plain, every other one encrypted", () => {
    for (const ip of ["127.0.0.1", "127.255.0.9"]) expect(isSecure({ encryption: "outside" }, ip)).toBe(false);
    for (const ip of ["0.0.0.0", "10.0.0.1", "128.0.0.1", "1.127.0.0"])
      expect(isSecure({ encryption: "outside" }, ip)).toBe(true);
    expect(isSecure({ encryption: "never" }, "10.0.0.1")).toBe(false);
  });
});

describe("an encrypted connection", () => {
  test("both sides know the other's key, and nothing reads or writes past the cipher", async () => {
    const { at, accepted } = listening();
    const dialled = await dial({ ...at, id: US.identity.id });
    const [met] = await until("the connection", () => accepted.length > 0 && accepted);
    expect(dialled.connection.id).toBe(US.identity.id);
    expect(met?.connection.id).toBe(THEM.identity.id);
    for (const { connection } of [dialled, met as Seen]) {
      expect(connection.readNow).toBeUndefined();
      expect(connection.sendFile).toBeUndefined();
    }
  });

  test("what one write could not take arrives whole, with drain and a goodbye behind it", async () => {
    const { at, accepted } = listening();
    const dialled = await dial(at);
    dialled.connection.pause();
    const met = await until("the connection", () => accepted[0]);
    for (let i = 0; i < 16; i++) met.connection.send(new Uint8Array(1 << 20));
    expect(met.connection.queued).toBeGreaterThan(0);
    met.connection.end();
    dialled.connection.resume();
    await until("the end", () => dialled.events.includes("end"));
    expect(dialled.bytes).toBe(16 << 20);
    dialled.connection.end();
    await until("the close", () => met.events.at(-1) === "close" && dialled.events.at(-1) === "close");
  });

  test("a side that has said goodbye still hears the other", async () => {
    const { at, accepted } = listening();
    const dialled = await dial(at);
    dialled.connection.send("last words");
    dialled.connection.end();
    const met = await until("the goodbye", () => accepted[0]?.events.includes("end") && accepted[0]);
    expect(met.text).toBe("last words");
    met.connection.send("heard");
    met.connection.end();
    await until("the answer", () => dialled.text === "heard");
  });

  test("the server's dial back proves itself to a listener, and compares the key too", async () => {
    const { at, accepted } = listening();
    const probe = createDialProbe(THEM);
    const seen: Seen[] = [];
    const connection = good(await probe({ ...at, id: US.identity.id }, noting(seen)));
    expect(connection.id).toBe(US.identity.id);
    const met = await until("the connection", () => accepted[0]);
    expect(met.connection.id).toBe(THEM.identity.id);
    met.connection.send("hello\n");
    await until("the line", () => seen[0]?.text === "hello\n");
    expect(codeOf(await probe({ ...at, id: THEM.identity.id }, () => expect.unreachable()))).toBe("WRONG_ID");
  });
});

describe("a wrong program at the other end", () => {
  test("another key than the pinned one is WRONG_ID, and that program never sees our certificate", async () => {
    const { at, accepted } = listening();
    const result = await theirs.connect({ ...at, id: THEM.identity.id }, () => expect.unreachable());
    expect(codeOf(result)).toBe("WRONG_ID");
    await dial(at); // comes after it
    await until("the right one", () => accepted.length > 0);
    expect(accepted.length).toBe(1);
  });

  test("one in the middle with a certificate of its own, even of the same name, is WRONG_ID", async () => {
    const { at } = listening();
    const middle = newSecurity("always");
    const between = createTcp(middle);
    const far = listening(between); // it would dial `at` and read all that passes
    await dial(at, between);
    const result = await theirs.connect({ ...far.at, id: US.identity.id }, () => expect.unreachable());
    expect(result).toMatchObject({ fault: "WRONG_ID", detail: `127.0.0.1:${far.at.port} ${middle.identity.id}` });
  });

  test("one that speaks in the clear is NOT_ENCRYPTED, and hears no more than a ClientHello", async () => {
    let heard = Buffer.alloc(0);
    const at = listenBare((socket, chunk) => {
      heard = Buffer.concat([heard, chunk]);
      socket.write("ERROR UNKNOWN_VERB final no TLS here\n");
    });
    const result = await theirs.connect(at, () => expect.unreachable());
    expect(codeOf(result)).toBe("NOT_ENCRYPTED");
    expect([heard[0], heard[1]]).toEqual([0x16, 0x03]);
    expect(heard.length).toBeLessThan(4000);
  });

  test("a web server, or a network that answers in its place, is NOT_ENCRYPTED: its key is of another kind", async () => {
    let heard = 0;
    const listener = Bun.listen({
      hostname: ANY.ip,
      port: 0,
      tls: { key: WEB_KEY, cert: WEB_CERTIFICATE },
      socket: {
        data(_, chunk) {
          heard += chunk.length;
        },
      },
    });
    closeAfterTest(() => listener.stop(true));
    const at = { ip: ANY.ip, port: listener.port };
    expect(codeOf(await theirs.connect(at, () => expect.unreachable()))).toBe("NOT_ENCRYPTED");
    expect(heard).toBe(0);
  });

  test("one that hangs up in the handshake is PEER_UNREACHABLE", async () => {
    const at = listenBare((socket) => socket.end());
    expect(codeOf(await theirs.connect(at, () => expect.unreachable()))).toMatch(/NOT_ENCRYPTED|PEER_UNREACHABLE/);
  });
});

/** A TLS client of node's, which shows what it is told to. */
async function visit(at: Address, options: tls.ConnectionOptions): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  const socket = tls.connect({ host: at.ip, port: at.port, rejectUnauthorized: false, ...options });
  closeAfterTest(() => socket.destroy());
  socket.on("secureConnect", () => socket.write("JOIN 127.0.0.1:1 0\n"));
  socket.on("error", () => undefined);
  socket.on("data", (chunk) => resolve(chunk.toString()));
  socket.on("close", () => resolve("closed"));
  return promise;
}

describe("who is let in", () => {
  const { key, certificate: cert } = THEM.identity;

  test("a client without a certificate is refused before a byte of it is read", async () => {
    const { at, accepted } = listening();
    expect(await visit(at, {})).toBe("closed");
    expect(accepted).toEqual([]);
  });

  test("an older TLS is refused, though its certificate is good", async () => {
    const { at, accepted } = listening();
    expect(await visit(at, { key, cert, maxVersion: "TLSv1.2" })).toBe("closed");
    expect(accepted).toEqual([]);
  });

  test("a plain request, an HTTP one and noise get a close and no answer of ours", async () => {
    const { at, accepted } = listening();
    for (const bytes of ["HELLO 1\nJOIN 127.0.0.1:9 0\n", "GET / HTTP/1.1\r\n\r\n", new Uint8Array(5000).fill(0xff)]) {
      using raw = await openRaw(at);
      raw.send(bytes);
      await raw.over();
      expect(raw.received).toBeLessThan(10); // TLS's own alert at most
    }
    expect(accepted).toEqual([]);
  });

  test("a handshake that does not come to its end is closed at its deadline", async () => {
    const clock = createVirtualClock();
    const { at, accepted } = listening(createTcp(US, clock));
    using silent = await openRaw(at);
    using slow = await openRaw(at);
    slow.send(Uint8Array.from([0x16, 0x03, 0x01, 0x02, 0x00, 0x01]));
    await until("both", () => clock.pending === 2);
    await clock.advance(HANDSHAKE_SECONDS_MAX * 1000 - 1);
    expect([silent.isOver, slow.isOver]).toEqual([false, false]);
    await clock.advance(1);
    await Promise.all([silent.over(), slow.over()]);
    expect(accepted).toEqual([]);
  });

  test("a flood of handshakes from one address is turned away at its limit, and others get in when it ends", async () => {
    const clock = createVirtualClock();
    const { at, accepted } = listening(createTcp(US, clock));
    const flood = await Promise.all(Array.from({ length: HANDSHAKES_PER_ADDRESS_MAX + 20 }, () => openRaw(at)));
    await until("twenty turned away", () => flood.filter(({ isOver }) => isOver).length === 20);
    expect(codeOf(await theirs.connect(at, () => expect.unreachable()))).not.toBe("no fault");
    for (const raw of flood) raw.destroy();
    await until("room", () => clock.pending === 0);
    await dial(at);
    await until("the one who meant it", () => accepted.length === 1);
  });

  test("one address may begin so many handshakes in a second, and others as many; the next second is another", () => {
    let now = 0;
    const handshakes = createHandshakes({ now: () => now, after: () => () => undefined });
    const begun = (ip: string) => {
      let count = 0;
      for (; count <= HANDSHAKES_PER_SECOND_MAX; count++) {
        const end = handshakes.begin(ip, () => expect.unreachable());
        if (end === undefined) break;
        end();
        end(); // a second end changes nothing
      }
      return count;
    };
    expect([begun("10.0.0.1"), begun("10.0.0.1"), begun("10.0.0.2")]).toEqual([
      HANDSHAKES_PER_SECOND_MAX,
      0,
      HANDSHAKES_PER_SECOND_MAX,
    ]);
    now = 1000;
    expect(begun("10.0.0.1")).toBe(HANDSHAKES_PER_SECOND_MAX);
  });

  test("all addresses together have so many under way", () => {
    const handshakes = createHandshakes({ now: () => 0, after: () => () => undefined });
    const begin = (index: number) => handshakes.begin(`10.0.${index >> 8}.${index & 255}`, () => expect.unreachable());
    const ends = Array.from({ length: HANDSHAKES_MAX }, (_, index) => begin(index));
    expect(ends).not.toContain(undefined);
    expect(begin(HANDSHAKES_MAX)).toBeUndefined();
    ends[0]?.();
    expect(begin(HANDSHAKES_MAX)).toBeDefined();
  });

  test("what is let in does not count as a handshake any more", async () => {
    const { at, accepted } = listening();
    for (let i = 0; i < HANDSHAKES_PER_ADDRESS_MAX + 5; i++) await dial(at);
    await until("all", () => accepted.length === HANDSHAKES_PER_ADDRESS_MAX + 5);
  });
});

describe("listening at every address", () => {
  test("each address has a listener of its own at one port, also one that comes later, and none that is gone", async () => {
    const clock = createVirtualClock();
    const open: string[] = [];
    let ips = ["10.0.0.1"];
    const listenAt = ({ ip, port }: Address): Listener => {
      open.push(ip);
      return { address: { ip, port: port || 4000 }, close: () => void open.splice(open.indexOf(ip), 1) };
    };
    const listener = good(listenEverywhere(0, listenAt, { clock, ips: () => ips }));
    expect(listener.address).toEqual({ ip: "0.0.0.0", port: 4000 });
    expect(open).toEqual(["127.0.0.1", "10.0.0.1"]);
    ips = ["10.0.0.2", "10.0.0.3"];
    await clock.advance(5000);
    expect(open).toEqual(["127.0.0.1", "10.0.0.2", "10.0.0.3"]);
    listener.close();
    expect(open).toEqual([]);
    expect(clock.pending).toBe(0);
  });

  test("a port that is taken at one address is in use, and nothing stays open", () => {
    const taken = listening(createTcp("never"));
    const { listen } = createTcp(newSecurity());
    expect(codeOf(listen({ ip: "0.0.0.0", port: taken.at.port }, () => expect.unreachable()))).toBe("PORT_IN_USE");
  });
});
