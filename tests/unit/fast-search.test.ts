// The short way of SEARCH against the long one: whatever arrives, both say the same bytes and tell the same events.
// Invariant: the two servers differ in one thing only, that the catalog of one cannot answer from bytes.
// Never: touches a socket.

import { describe, expect, setDefaultTimeout, test } from "bun:test";
import fc from "fast-check";
import type { Catalog } from "../../src/catalog/contract.ts";
import { createMemoryCatalog } from "../../src/catalog/memory.ts";
import { formatAddress } from "../../src/protocol/address.ts";
import { fault } from "../../src/protocol/fault.ts";
import { Servidor, type ServidorEvent } from "../../src/servidor.ts";
import type { Connect } from "../../src/transport/connection.ts";
import { createVirtualClock, turn } from "../support/clock.ts";
import { createNet, type FarEnd } from "../support/net.ts";
import { joinOf as join } from "../support/servidor.ts";

setDefaultTimeout(60_000);

/** A server on no network, and connections to it. */
function serve(catalog: Catalog, clients: number): { clients: FarEnd[]; events: ServidorEvent[] } {
  const net = createNet();
  const events: ServidorEvent[] = [];
  new Servidor({
    at: { ip: "127.0.0.1", port: 1 },
    probe: false,
    catalog,
    onEvent: (event) => events.push(event),
    env: { clock: createVirtualClock(), listen: net.listen },
  }).listen();
  // From one network each 256: there may not be too many strangers of one address.
  const visit = (port: number) => net.visit({ ip: `127.0.${port >> 8}.1`, port });
  return { clients: Array.from({ length: clients }, (_, i) => visit(1000 + i)), events };
}

const withoutBytes = (): Catalog => ({ ...createMemoryCatalog(), writeHolders: undefined }) as Catalog;

/** A JOIN may wait for a turn of the event loop in which there is time for it. */
async function settle(client: FarEnd, request: string): Promise<void> {
  const before = client.sent.length;
  client.say(request);
  while (client.sent.length === before) await turn();
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
        const [one, two, asker] = clients as [FarEnd, FarEnd, FarEnd];
        await settle(one, join(5001, NAMES));
        await settle(two, join(5002, NAMES.slice(1)));
        await settle(asker, join(5003, []));
        let rest = Buffer.from(`${lines.join("")}HELLO 1\n`);
        for (const cut of [...cuts, rest.length]) {
          asker.say(rest.subarray(0, cut));
          rest = rest.subarray(cut);
        }
        // Between two clients there is no order, so the others go on when the asker has had its answers.
        const answered = () => asker.state !== "open" || asker.sent.endsWith("HELLO 1\n");
        while (!answered()) await turn();
        await settle(one, "PING\n");
        await settle(two, join(5004, []));
        return [asker.sent, events];
      };
      expect(await say(createMemoryCatalog())).toEqual(await say(withoutBytes()));
    }),
    { numRuns: 500 },
  );
});

describe("the short way", () => {
  const holders = async (count: number) => {
    const { clients, events } = serve(createMemoryCatalog(), count + 1);
    for (let i = 0; i < count; i++) await settle(clients[i] as FarEnd, join(10_000 + i, ["a"]));
    const asker = clients[count] as FarEnd;
    await settle(asker, join(9, []));
    return { asker, events };
  };

  test.each([1, 6, 7, 62, 63, 590, 600, 2000, 5000])("says a list of %d with its length", async (count) => {
    const { asker } = await holders(count);
    const before = asker.sent.length;
    asker.say("SEARCH a\n");
    const list = Array.from({ length: count }, (_, i) => `127.0.0.1:${10_000 + i}\n`).join("");
    expect(asker.sent.slice(before)).toBe(`SEARCH_OK ${list.length}\n${list}`);
  });

  test("stops for a client that does not read", async () => {
    const { asker } = await holders(300);
    asker.room = 1;
    const before = asker.sent.length;
    asker.say("SEARCH a\n".repeat(10_000));
    expect(asker.sent.length + asker.queued - before).toBeLessThan(300_000);
  });
});

describe("whoever asks from another machine", () => {
  const OUTSIDE = "192.168.7.1";
  /** A server whose machine is reached at OUTSIDE; `proves` says which of its addresses answer a dial. */
  function serveLan(catalog: Catalog, dials: string[] = []) {
    const net = createNet();
    const at = { ip: OUTSIDE, port: 1 };
    const listen: typeof net.listen = (where, accept) =>
      net.listen(where, (connection) => accept(Object.assign(Object.create(connection), { local: at })));
    const connect: Connect = async (to) => {
      dials.push(formatAddress(to));
      return fault("PEER_UNREACHABLE", "ours", "no dials here");
    };
    const events: ServidorEvent[] = [];
    const probe = dials.length > 0;
    const clock = createVirtualClock();
    const options = { at: { ip: "0.0.0.0", port: 1 }, catalog, env: { clock, listen, connect }, probe };
    new Servidor({ ...options, onEvent: (event) => events.push(event) }).listen();
    return { visit: (ip: string, port: number) => net.visit({ ip, port }), events };
  }
  const say = async (client: FarEnd, line: string): Promise<string> => {
    const before = client.sent.length;
    await settle(client, `${line}\n`);
    return client.sent.slice(before);
  };

  test.each([
    ["quick", createMemoryCatalog],
    ["long", withoutBytes],
  ])("is named this machine's own peers by the address at which it reaches them, in the %s way", async (_, make) => {
    const { visit } = serveLan(make());
    const [one, two, far, own] = [
      visit("127.0.0.1", 1),
      visit("127.0.0.1", 2),
      visit("192.168.7.9", 3),
      visit("127.0.0.1", 4),
    ];
    await settle(one, `JOIN 127.0.0.1:5001 81\n1 - a\n1 - b\n1 ${"a".repeat(64)} c\n`);
    await settle(two, "JOIN 127.0.0.2:5001 6\n1 - a\n");
    await settle(far, "JOIN 192.168.7.9:5003 6\n1 - a\n");
    await settle(own, "JOIN 127.0.0.1:5004 0\n");
    const named = `${OUTSIDE}:5001\n192.168.7.9:5003\n`;
    expect(await say(far, "SEARCH a")).toBe(`SEARCH_OK ${named.length}\n${named}`);
    expect(await say(far, "SEARCH b")).toBe(`SEARCH_OK ${OUTSIDE.length + 6}\n${OUTSIDE}:5001\n`);
    expect(await say(far, `SOURCES ${"a".repeat(64)}`)).toEndWith(`\n${OUTSIDE}:5001 complete\n`);
    const typed = "127.0.0.1:5001\n127.0.0.2:5001\n192.168.7.9:5003\n";
    expect(await say(own, "SEARCH a")).toBe(`SEARCH_OK ${typed.length}\n${typed}`);
  });

  test("is not named one that only answers this machine, nor one that was never dialled outside", async () => {
    const dials = ["the list that is filled"];
    const { visit } = serveLan(createMemoryCatalog(), dials);
    const [one, far] = [visit("127.0.0.1", 1), visit("192.168.7.9", 3)];
    await settle(one, "JOIN 127.0.0.1:5001 6\n1 - a\n");
    await settle(far, "JOIN 192.168.7.9:5003 0\n");
    expect(dials).toContain("127.0.0.1:5001");
    expect(await say(far, "SEARCH a")).toBe("SEARCH_OK 0\n");
    one.close();
  });
});
