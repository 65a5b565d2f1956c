// Questions and answers over one connection.
// Invariant: every call ends, with its own reply or with why there is none.
// Never: needs a socket; the connection's other end is the test's.

import { beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { isFault } from "../../src/protocol/fault.ts";
import { REPLY_SECONDS_MAX, WAITS_PER_SECOND_MAX } from "../../src/protocol/limits.ts";
import { type Answer, type Caller, createCaller, expectReply } from "../../src/transport/caller.ts";
import { createVirtualClock, type VirtualClock } from "../support/clock.ts";
import { codeOf, good } from "../support/good.ts";
import { createFarEnd, type FarEnd } from "../support/net.ts";

setDefaultTimeout(60_000);

let clock: VirtualClock;
let caller: Caller;
let far: FarEnd;

beforeEach(() => {
  clock = createVirtualClock();
  [, far] = createFarEnd({ ip: "127.0.0.1", port: 1 }, (connection) => {
    const made = createCaller(connection, clock);
    caller = made.caller;
    return made.handlers;
  });
});

const verbOf = (answer: Answer | ReturnType<typeof good>) => (answer as Answer).reply.verb;
const WAIT_MS = REPLY_SECONDS_MAX * 1000;

describe("a call", () => {
  test("a call sends its line and its payload, and takes the reply and its payload", async () => {
    const payload = Buffer.from("1 - a\n");
    const joined = caller.call({ verb: "JOIN", address: { ip: "127.0.0.1", port: 9 }, payloadBytes: 6 }, { payload });
    expect(far.sent).toBe("JOIN 127.0.0.1:9 6\n1 - a\n");
    far.say("JOIN_OK 127.0.0.1:9\n");
    expect(verbOf(await joined)).toBe("JOIN_OK");
    const found = caller.call({ verb: "SEARCH", name: "a" });
    for (const byte of "SEARCH_OK 12\n127.0.0.1:9\n") far.say(byte);
    expect(Buffer.from((good(await found) as Answer).payload).toString()).toBe("127.0.0.1:9\n");
  });

  const OTHERS = [
    ["LAYER_OK 67108864\n", { verb: "SEARCH", name: "a" }],
    ["PIECES_OK 67108864\n", { verb: "SOURCES", root: "a".repeat(64) }],
    ["SEARCH_OK 3200000\n", { verb: "PING" }],
    ["DATA 0 4194304\n", { verb: "LAYER" }],
  ] as const;
  for (const [line, request] of OTHERS)
    test(`a call that gets ${line.split(" ", 1)} in ${request.verb}'s turn ends at once, before any of that is kept`, async () => {
      const answer = caller.call(request);
      far.say(line);
      expect(codeOf(await answer)).toBe("BAD_REPLY");
      expect(far.state).toBe("closed");
    });

  test("a call gets the reply at its position, also when they come together", async () => {
    const calls = [
      caller.call({ verb: "SEARCH", name: "a" }),
      caller.call({ verb: "PING" }),
      caller.call({ verb: "UPDATE", share: { name: "a", size: 1, root: undefined } }),
    ];
    far.say("SEARCH_OK 0\nPONG\nERROR NOT_JOINED final no\n");
    expect((await Promise.all(calls)).map((answer) => verbOf(answer))).toEqual(["SEARCH_OK", "PONG", "ERROR"]);
  });

  test("a call whose payload is on its way, however slowly, is waited for; one that trickles is not", async () => {
    for (const [bytesPerSecond, ends] of [
      [1024, "LAYER_OK"],
      [100, "STALLED"],
    ] as const) {
      const [, end] = createFarEnd({ ip: "127.0.0.1", port: 1 }, (connection) => {
        const made = createCaller(connection, clock);
        caller = made.caller;
        return made.handlers;
      });
      const asked = caller.call({ verb: "LAYER" });
      const bytes = 100 * bytesPerSecond;
      end.say(`LAYER_OK ${bytes}\n`);
      for (let second = 0; second < 100 && end.state === "open"; second++) {
        await clock.advance(1000);
        end.say(new Uint8Array(bytesPerSecond));
      }
      const answer = await asked;
      expect(isFault(answer) ? answer.fault : answer.reply.verb).toBe(ends);
    }
  });

  test("a call without a reply is STALLED at its deadline, and so are those behind it", async () => {
    const first = caller.call({ verb: "PING" });
    const second = caller.call({ verb: "PING" });
    await clock.advance(WAIT_MS - 1);
    expect(far.state).toBe("open");
    await clock.advance(1);
    expect([codeOf(await first), codeOf(await second)]).toEqual(["STALLED", "STALLED"]);
    expect(far.state).toBe("closed");
    expect(codeOf(await caller.closed)).toBe("STALLED");
  });

  test("a call is kept alive by WAIT, which tells the position in the queue", async () => {
    const told: number[] = [];
    const call = caller.call({ verb: "DOWNLOAD", name: "a" }, { onWait: (position) => told.push(position) });
    const behind = caller.call({ verb: "LAYER" });
    for (const position of [3, 2, 1]) {
      await clock.advance(WAIT_MS - 1);
      far.say(`WAIT ${position}\n`);
    }
    far.say("REJECT BUSY retry no\nERROR BAD_STATE final no\n");
    expect(verbOf(await call)).toBe("REJECT");
    expect(told).toEqual([3, 2, 1]);
    expect(verbOf(await behind)).toBe("ERROR"); // it has waited with the one before it
  });

  test("a call whose request is still leaving, a little at a time, is not stalled", async () => {
    const payload = new Uint8Array(100_000).fill(97);
    far.queued = 100_000;
    const call = caller.call(
      { verb: "JOIN", address: { ip: "127.0.0.1", port: 9 }, payloadBytes: 100_000 },
      { payload },
    );
    for (const left of [90_000, 60_000, 30_000, 0]) {
      far.queued = left;
      await clock.advance(WAIT_MS);
    }
    expect(far.state).toBe("open");
    far.say("JOIN_OK 127.0.0.1:9\n");
    expect(verbOf(await call)).toBe("JOIN_OK");
  });

  test("a call whose request does not leave at all is stalled", async () => {
    far.queued = 1000;
    const call = caller.call({ verb: "PING" });
    await clock.advance(WAIT_MS);
    await clock.advance(WAIT_MS);
    expect(codeOf(await call)).toBe("STALLED");
  });

  test("a call ends when the connection does, and later ones do at once", async () => {
    const call = caller.call({ verb: "PING" });
    far.close();
    expect(codeOf(await call)).toBe("PEER_GONE");
    expect(codeOf(await caller.call({ verb: "PING" }))).toBe("PEER_GONE");
    expect(clock.pending).toBe(0);
  });

  test("a call ends when the other side sends no more", async () => {
    const call = caller.call({ verb: "PING" });
    far.say("PON");
    far.end();
    expect(codeOf(await call)).toBe("PEER_GONE");
  });
});

describe("breaking the protocol", () => {
  for (const [what, bytes] of [
    ["a line that is no reply", "hello?\n"],
    ["a line without an end", "x".repeat(2000)],
    ["a payload beyond its limit", "SEARCH_OK 4294967295\n"],
    ["bytes that are no text", Uint8Array.of(0xff, 10)],
  ] as const) {
    test(`breaking the protocol by ${what} is BAD_REPLY and ends the connection`, async () => {
      const call = caller.call({ verb: "PING" });
      far.say(bytes);
      expect(codeOf(await call)).toBe("BAD_REPLY");
      expect(far.state).toBe("closed");
    });
  }

  test("breaking the protocol by an unasked reply ends the connection", async () => {
    far.say("PONG\n");
    expect(codeOf(await caller.closed)).toBe("BAD_REPLY");
  });

  test("what was wished for arrives between two replies, and breaks the protocol where no wish stands behind it", async () => {
    const arrived: string[] = [];
    const onArrived = () => void arrived.push("a");
    const calls = [caller.call({ verb: "WISH", name: "a" }, { onArrived }), caller.call({ verb: "SEARCH", name: "b" })];
    far.say("WISH_OK all\nARRIVED a\nSEARCH_OK 0\n");
    expect((await Promise.all(calls)).map((answer) => verbOf(good(answer)))).toEqual(["WISH_OK", "SEARCH_OK"]);
    expect(arrived).toEqual(["a"]);
    far.say("ARRIVED a\n");
    expect(codeOf(await caller.closed)).toBe("BAD_REPLY");
    expect(arrived).toEqual(["a"]);
  });

  test("breaking the protocol by an unasked ERROR is its last word", async () => {
    far.say("ERROR SHUTTING_DOWN retry bye\n");
    expect(await caller.closed).toMatchObject({ fault: "SHUTTING_DOWN", retry: true });
  });

  test("breaking the protocol by a WAIT before the answer to what has no queue is BAD_REPLY: it would put off the deadline for ever", async () => {
    const call = caller.call({ verb: "LAYER" });
    far.say("WAIT 1\n");
    expect(codeOf(await call)).toBe("BAD_REPLY");
    expect(far.state).toBe("closed");
  });

  test("breaking the protocol by more WAITs than a queue that moves has to tell is BAD_REPLY, of a busy queue it is not", async () => {
    let told = 0;
    const call = caller.call({ verb: "DOWNLOAD", name: "a" }, { onWait: () => void told++ });
    for (let second = 0; second < 10; second++) {
      for (let i = 0; i < WAITS_PER_SECOND_MAX; i++) far.say(`WAIT ${1 + (i % 100)}\n`);
      await clock.advance(1000);
    }
    expect([told, far.state]).toEqual([10 * WAITS_PER_SECOND_MAX, "open"]);
    far.say("WAIT 2\nWAIT 1\n".repeat(WAITS_PER_SECOND_MAX));
    expect(codeOf(await call)).toBe("BAD_REPLY");
    expect(told).toBeLessThanOrEqual(11 * WAITS_PER_SECOND_MAX);
  });

  test("breaking the protocol by a payload larger than the answer can be is BAD_REPLY before any of it is kept", async () => {
    const call = caller.call({ verb: "LAYER" }, { payloadBytesMax: () => 64 });
    far.say("LAYER_OK 65\n");
    expect(codeOf(await call)).toBe("BAD_REPLY");
  });

  test("breaking the protocol by an unasked payload is BAD_REPLY before any of it is kept", async () => {
    far.say("LAYER_OK 1000000\n");
    expect(codeOf(await caller.closed)).toBe("BAD_REPLY");
  });

  test("breaking the protocol by a WAIT without a call does nothing", async () => {
    far.say("WAIT 1\n");
    const call = caller.call({ verb: "PING" });
    far.say("PONG\n");
    expect(verbOf(await call)).toBe("PONG");
  });
});

describe("what a reply amounts to", () => {
  const answer = (reply: Answer["reply"]): Answer => ({ reply, payload: new Uint8Array(0) });

  test("what a reply amounts to is the reply, where it is the expected one", () => {
    expect(isFault(expectReply(answer({ verb: "PONG" }), "PONG"))).toBe(false);
  });

  test("what a reply amounts to is the fault that an ERROR or a REJECT names", () => {
    const reject = answer({ verb: "REJECT", code: "BUSY", retry: true, text: "all taken" });
    expect(expectReply(reject, "ACCEPT")).toEqual({ fault: "BUSY", whose: "theirs", retry: true, detail: "all taken" });
  });

  test("what a reply amounts to is BAD_REPLY for any other", () => {
    expect(codeOf(expectReply(answer({ verb: "PONG" }), "ACCEPT"))).toBe("BAD_REPLY");
  });
});
