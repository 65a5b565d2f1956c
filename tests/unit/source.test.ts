// Asking a peer for a content: what goes along with the first question, and what is made of the answers.
// Invariant: a far peer is asked for everything that is known to be needed in one round trip.
// Never: opens a socket.

import { describe, expect, test } from "bun:test";
import { isFault } from "../../src/protocol/fault.ts";
import { openSource, type Source } from "../../src/transfer/source.ts";
import type { Connect, Connection } from "../../src/transport/connection.ts";
import { createVirtualClock } from "../support/clock.ts";
import { good } from "../support/good.ts";

const ADDRESS = { ip: "127.0.0.1", port: 1 };
const ROOT = "ab".repeat(32);
const GRANT = `ACCEPT ${"0".repeat(32)} 100 262144 ${ROOT}\n`;

/** A peer that hears everything and says what the test makes it say. */
function createFar() {
  let tell: (bytes: Uint8Array) => void = () => {};
  const far = {
    heard: "",
    open: true,
    say: (text: string) => tell(new TextEncoder().encode(text)),
  };
  const close = () => {
    far.open = false;
  };
  const connection: Connection = {
    remote: ADDRESS,
    local: ADDRESS,
    queued: 0,
    send(bytes) {
      far.heard += typeof bytes === "string" ? bytes : new TextDecoder().decode(bytes);
    },
    pause() {},
    resume() {},
    end: close,
    destroy: close,
  };
  const connect: Connect = async (_to, open) => {
    const handlers = open(connection);
    tell = (bytes) => handlers.data(bytes);
    return connection;
  };
  return { far, connect };
}

const settled = () => new Promise<void>((done) => setImmediate(done));

describe("a source", () => {
  test("asked by name is asked for its layer in the same breath, once", async () => {
    const { far, connect } = createFar();
    const opening = openSource(ADDRESS, { name: "a.mp4" }, { connect, clock: createVirtualClock(), ahead: "layer" });
    await settled();
    expect(far.heard).toBe("HELLO 1\nDOWNLOAD a.mp4\nLAYER\n");
    far.say(`HELLO 1\n${GRANT}ERROR NOT_READY retry later\n`);
    const source = good(await opening) as Source;
    const first = await source.layer();
    expect(isFault(first) && first.fault).toBe("NOT_READY");
    expect(far.heard).not.toContain("LAYER\nLAYER\n");
    const second = source.layer();
    await settled();
    expect(far.heard).toEndWith("LAYER\nLAYER\n");
    far.say("ERROR NOT_READY retry later\n");
    expect(isFault(await second)).toBe(true);
  });

  test("asked by content is asked for its pieces in the same breath", async () => {
    const { far, connect } = createFar();
    const opening = openSource(ADDRESS, { root: ROOT }, { connect, clock: createVirtualClock(), ahead: "pieces" });
    await settled();
    expect(far.heard).toBe(`HELLO 1\nFETCH ${ROOT}\nPIECES\n`);
    far.say(`HELLO 1\n${GRANT}PIECES_OK 0\n`);
    expect(await (good(await opening) as Source).available()).toBe("all");
  });

  test("that grants a content of countless pieces gets no room made for them", async () => {
    const { far, connect } = createFar();
    const opening = openSource(ADDRESS, { root: ROOT }, { connect, clock: createVirtualClock(), ahead: "pieces" });
    await settled();
    far.say(`HELLO 1\nACCEPT ${"0".repeat(32)} ${Number.MAX_SAFE_INTEGER} 262144 ${ROOT}\nPIECES_OK 8\n12345678`);
    const available = await (good(await opening) as Source).available();
    expect(isFault(available) && available.fault).toBe("BAD_REPLY");
  });

  test("that rejects is left, whatever it says to the second question", async () => {
    const { far, connect } = createFar();
    const opening = openSource(ADDRESS, { name: "a.mp4" }, { connect, clock: createVirtualClock(), ahead: "layer" });
    await settled();
    far.say("HELLO 1\nREJECT REFUSED final no\n");
    const refused = await opening;
    expect(isFault(refused) && refused.fault).toBe("REFUSED");
    expect(far.open).toBe(false);
    far.say("ERROR BAD_STATE final no\n");
  });
});
