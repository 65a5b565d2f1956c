// The short way of SEARCH against the long one: whatever arrives, both say the same bytes and tell the same events.
// Invariant: the two servers differ in one thing only, that the catalog of one cannot answer from bytes.
// Never: touches a socket.

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { Catalog } from "../../src/catalog/contract.ts";
import { createMemoryCatalog } from "../../src/catalog/memory.ts";
import { Servidor, type ServidorEvent } from "../../src/servidor.ts";
import type { Connection, Handlers } from "../../src/transport/connection.ts";
import { createVirtualClock } from "../support/clock.ts";

type Client = { send(bytes: Uint8Array): void; heard(): string; jam(bytes: number): void; ended(): boolean };

/** A server on no network, whose clients are fed by hand. */
function serve(catalog: Catalog, clients: number): { clients: Client[]; events: ServidorEvent[] } {
  const events: ServidorEvent[] = [];
  const made: Client[] = [];
  const open = (accept: (connection: Connection) => Handlers, port: number): Client => {
    let heard = "";
    let queued = 0;
    let ended = false;
    const connection: Connection = {
      remote: { ip: `127.0.${port >> 8}.1`, port }, // not too many strangers of one address
      local: { ip: "127.0.0.1", port: 1 },
      send: (bytes) => {
        heard += Buffer.from(bytes as Uint8Array).toString();
        if (jammedAt !== undefined && heard.length >= jammedAt) queued = 1;
      },
      get queued() {
        return queued;
      },
      pause() {},
      resume() {},
      end: () => {
        ended = true;
      },
      destroy() {},
    };
    let jammedAt: number | undefined;
    const handlers = accept(connection);
    return {
      send: (bytes) => handlers.data(bytes),
      heard: () => heard,
      ended: () => ended,
      jam: (bytes) => {
        jammedAt = heard.length + bytes;
      },
    };
  };
  const servidor = new Servidor({
    host: "127.0.0.1",
    port: 1,
    probe: false,
    catalog,
    clock: createVirtualClock(),
    onEvent: (event) => events.push(event),
    listen(address, accept) {
      for (let i = 0; i < clients; i++) made.push(open(accept, 1000 + i));
      return { address, close() {} };
    },
  });
  servidor.listen();
  return { clients: made, events };
}

const withoutBytes = (): Catalog => ({ ...createMemoryCatalog(), writeHolders: undefined }) as Catalog;
const bytes = (text: string): Uint8Array => Buffer.from(text);
const join = (port: number, names: readonly string[]): Uint8Array => {
  const payload = names.map((name) => `1 - ${name}\n`).join("");
  return bytes(`JOIN 127.0.0.1:${port} ${Buffer.byteLength(payload)}\n${payload}`);
};

/** A JOIN may wait for a turn of the event loop in which there is time for it. */
async function settle(client: Client, bytes: Uint8Array): Promise<void> {
  const before = client.heard().length;
  client.send(bytes);
  while (client.heard().length === before) await new Promise<void>((turn) => setImmediate(turn));
}

const NAMES = ["a", "Ação.mp4", "SEARCH a", "vídeo b.mp4", "x".repeat(255)];

test("any requests in any cuts are answered the same both ways", async () => {
  const line = fc.oneof(
    fc.constantFrom(...NAMES.map((name) => `SEARCH ${name}\n`)),
    fc.constantFrom("SEARCH a\r\n", "SEARCH \n", "SEARCH\n", "SEARCH nobody\n", "SEARCH ../x\n", "PING\n", "SEARCHa\n"),
    fc.constantFrom(
      "UPDATE 1 - nobody\n",
      "WITHDRAW a\n",
      "JOIN 127.0.0.1:77 9\nSEARCH a\n",
      "\n",
      `SEARCH ${"x".repeat(2000)}\n`,
    ),
  );
  const input = fc.array(line, { maxLength: 12 });
  await fc.assert(
    fc.asyncProperty(input, fc.array(fc.nat(40), { maxLength: 20 }), async (lines, cuts) => {
      const say = async (catalog: Catalog) => {
        const { clients, events } = serve(catalog, 3);
        const [one, two, asker] = clients as [Client, Client, Client];
        await settle(one, join(5001, NAMES));
        await settle(two, join(5002, NAMES.slice(1)));
        await settle(asker, join(5003, []));
        let rest = bytes(`${lines.join("")}HELLO 1\n`);
        for (const cut of [...cuts, rest.length]) {
          asker.send(rest.subarray(0, cut));
          rest = rest.subarray(cut);
        }
        // Between two clients there is no order, so the others go on when the asker has had its answers.
        const answered = () => asker.ended() || asker.heard().endsWith("HELLO 1\n");
        while (!answered()) await new Promise<void>((next) => setImmediate(next));
        await settle(one, bytes("PING\n"));
        await settle(two, join(5004, []));
        return [asker.heard(), events];
      };
      expect(await say(createMemoryCatalog())).toEqual(await say(withoutBytes()));
    }),
    { numRuns: 500 },
  );
});

describe("the short way", () => {
  const holders = async (count: number) => {
    const { clients, events } = serve(createMemoryCatalog(), count + 1);
    for (let i = 0; i < count; i++) await settle(clients[i] as Client, join(10_000 + i, ["a"]));
    const asker = clients[count] as Client;
    await settle(asker, join(9, []));
    return { asker, events };
  };

  test.each([1, 6, 7, 62, 63, 590, 600, 2000, 5000])("says a list of %d with its length", async (count) => {
    const { asker } = await holders(count);
    const before = asker.heard().length;
    asker.send(bytes("SEARCH a\n"));
    const list = Array.from({ length: count }, (_, i) => `127.0.0.1:${10_000 + i}\n`).join("");
    expect(asker.heard().slice(before)).toBe(`SEARCH_OK ${list.length}\n${list}`);
  });

  test("stops for a client that does not read", async () => {
    const { asker } = await holders(300);
    asker.jam(1);
    const before = asker.heard().length;
    asker.send(bytes("SEARCH a\n".repeat(10_000)));
    expect(asker.heard().length - before).toBeLessThan(300_000);
  });
});
