// Asking a peer for a content: what goes along with the first question, and what is made of the answers.
// Invariant: a far peer is asked for everything that is known to be needed in one round trip.
// Never: opens a socket.

import { describe, expect, test } from "bun:test";
import { openSource, type Source, type Wanted } from "../../src/download/peers/source.ts";
import { isFault } from "../../src/protocol/fault.ts";
import { createVirtualClock, turn } from "../support/clock.ts";
import { good } from "../support/good.ts";
import { createNet, type FarEnd } from "../support/net.ts";

const ADDRESS = { ip: "127.0.0.1", port: 1 };
const ROOT = "ab".repeat(32);
const GRANT = `ACCEPT ${"0".repeat(32)} 100 262144 ${ROOT}\n`;

/** Asks over a network in memory for what is wanted; the peer's end of the connection. */
async function ask(wanted: Wanted, ahead: "layer" | "pieces") {
  const net = createNet();
  const opening = openSource(ADDRESS, wanted, { connect: net.connect, clock: createVirtualClock(), ahead });
  await turn();
  return { opening, far: net.dialled[0] as FarEnd };
}

describe("a source", () => {
  test("asked by name is asked for its layer in the same breath, once", async () => {
    const { far, opening } = await ask({ name: "a.mp4" }, "layer");
    expect(far.sent).toBe("HELLO 1\nDOWNLOAD a.mp4\nLAYER\n");
    far.say(`HELLO 1\n${GRANT}ERROR NOT_READY retry later\n`);
    const source = good(await opening) as Source;
    const first = await source.layer();
    expect(isFault(first) && first.fault).toBe("NOT_READY");
    expect(far.sent).not.toContain("LAYER\nLAYER\n");
    const second = source.layer();
    await turn();
    expect(far.sent).toEndWith("LAYER\nLAYER\n");
    far.say("ERROR NOT_READY retry later\n");
    expect(isFault(await second)).toBe(true);
  });

  test("asked by content is asked for its pieces in the same breath", async () => {
    const { far, opening } = await ask({ root: ROOT }, "pieces");
    expect(far.sent).toBe(`HELLO 1\nFETCH ${ROOT}\nPIECES\n`);
    far.say(`HELLO 1\n${GRANT}PIECES_OK 0\n`);
    expect(await (good(await opening) as Source).available()).toBe("all");
  });

  test("that grants a content of countless pieces gets no room made for them", async () => {
    const { far, opening } = await ask({ root: ROOT }, "pieces");
    far.say(`HELLO 1\nACCEPT ${"0".repeat(32)} ${Number.MAX_SAFE_INTEGER} 262144 ${ROOT}\nPIECES_OK 8\n12345678`);
    const available = await (good(await opening) as Source).available();
    expect(isFault(available) && available.fault).toBe("BAD_REPLY");
  });

  test("that rejects is left, whatever it says to the second question", async () => {
    const { far, opening } = await ask({ name: "a.mp4" }, "layer");
    far.say("HELLO 1\nREJECT REFUSED final no\n");
    const refused = await opening;
    expect(isFault(refused) && refused.fault).toBe("REFUSED");
    expect(far.state).not.toBe("open");
    far.say("ERROR BAD_STATE final no\n");
  });
});
