import { describe, expect, test } from "bun:test";
import type { Progress } from "../../src/download/progress.ts";
import { createDownloads, type DownloadsEvent, type DownloadsOptions } from "../../src/peer/downloads.ts";
import type { Done, DownloadRequest } from "../../src/peer/requests.ts";
import type { Address } from "../../src/protocol/address.ts";
import { type Fault, fault } from "../../src/protocol/fault.ts";
import { createVirtualClock, turn } from "../support/clock.ts";

const SELF = { ip: "127.0.0.1", port: 1 };
const PEER = { ip: "127.0.0.1", port: 2 };
const OTHER = { ip: "127.0.0.1", port: 3 };
const GONE = fault("PEER_GONE", "network", "", true);
const CANCELLED = fault("CANCELLED", "ours");

type Fetch = {
  name: string;
  from: Address;
  request: DownloadRequest & { name: string };
  end: (how: Done | Fault) => void;
};

/** The list over a network that the test plays: `found` is what SEARCH says, and each fetch ends when the test lets it. */
function open(options: Partial<DownloadsOptions> = {}) {
  const clock = createVirtualClock();
  const fetches: Fetch[] = [];
  const wishes = new Set<string>();
  const found = new Map<string, readonly Address[] | Fault>();
  const asked: string[] = [];
  const events: DownloadsEvent[] = [];
  const downloads = createDownloads({
    env: { clock, random: () => 1 },
    self: () => SELF,
    async locate(name) {
      asked.push(name);
      return found.get(name) ?? [PEER];
    },
    fetch(from, request) {
      const { promise, resolve } = Promise.withResolvers<Done | Fault>();
      const { name, signal } = request;
      fetches.push({ name, from, request, end: resolve });
      request.onAsk?.(from);
      signal?.addEventListener("abort", () => resolve(CANCELLED));
      return promise;
    },
    async wish(name) {
      wishes.add(name);
      return true;
    },
    unwish: (name) => void wishes.delete(name),
    ...options,
  });
  downloads.subscribe((event) => events.push(event));
  const states = () => Object.fromEntries(downloads.list().map(({ name, state }) => [name, state]));
  const names = () => fetches.map(({ name }) => name);
  return { downloads, clock, fetches, wishes, found, asked, events, states, names };
}

const done = (name: string): Done => ({ name, folder: "d", bytes: 1 });
const progress = (bytes: number, size = 10): Progress => ({ bytes, size, rate: 1, sources: 1 });

describe("the list of downloads", () => {
  test("fetches three at a time in the order asked, and the rest as turns come free", async () => {
    const { downloads, fetches, names, states } = open();
    const ended = ["a", "b", "c", "d", "e"].map((name) => downloads.start({ name }));
    await turn();
    expect(names()).toEqual(["a", "b", "c"]);
    expect(states()).toEqual({ a: "running", b: "running", c: "running", d: "queued", e: "queued" });
    fetches[1]?.end(done("b"));
    expect(await ended[1]).toEqual(done("b"));
    await turn();
    expect(names()).toEqual(["a", "b", "c", "d"]);
    downloads.max = 5;
    await turn();
    expect(names()).toEqual(["a", "b", "c", "d", "e"]);
  });

  test("has one download for a name, and of names that differ in case only one under way", async () => {
    const { downloads, fetches, names } = open();
    const first = downloads.start({ name: "Aula.mp4" });
    const again = downloads.start({ name: "Aula.mp4" });
    void downloads.start({ name: "aula.mp4" });
    await turn();
    expect(names()).toEqual(["Aula.mp4"]);
    fetches[0]?.end(done("Aula.mp4"));
    expect(await again).toBe((await first) as Done);
    await turn();
    expect(names()).toEqual(["Aula.mp4", "aula.mp4"]);
  });

  test("asks the peer that was chosen, or the first that has the file and is not this one", async () => {
    const { downloads, found, fetches, asked } = open();
    found.set("a", [SELF, PEER, OTHER]);
    void downloads.start({ name: "a" });
    void downloads.start({ name: "b", from: OTHER, others: [PEER] });
    await turn();
    expect(fetches.map(({ from }) => from).sort((a, b) => a.port - b.port)).toEqual([PEER, OTHER]);
    expect(fetches.find(({ name }) => name === "a")?.request.others).toEqual([PEER, OTHER]);
    expect(asked).toEqual(["a"]);
  });

  test("a paused one gives its turn away, a cancelled one leaves the list, and both let the fetch end first", async () => {
    const { downloads, fetches, states, names } = open({ max: 1 });
    const cancelled = downloads.start({ name: "a" });
    void downloads.start({ name: "b" });
    void downloads.start({ name: "c" });
    await turn();
    expect(downloads.pause("a")).toBe(true);
    await turn();
    expect(states()).toEqual({ a: "paused", b: "running", c: "queued" });
    expect([downloads.pause("a"), downloads.pause("x"), downloads.cancel("x"), downloads.resume("b")]).toEqual(
      Array(4).fill(false),
    );
    expect(downloads.cancel("b")).toBe(true);
    expect(downloads.resume("a")).toBe(true);
    await turn();
    expect(names()).toEqual(["a", "b", "a"]);
    fetches[2]?.request.onProgress?.(progress(4));
    downloads.cancel("a");
    expect(await cancelled).toEqual(CANCELLED);
    await turn();
    expect(states()).toEqual({ c: "running" });
  });

  test("one that was paused and resumed before its fetch had ended begins anew after it", async () => {
    const late = Promise.withResolvers<Fault>();
    const begun: string[] = [];
    const { downloads } = open({
      fetch: (_, { name, signal }) => {
        begun.push(name);
        return new Promise((resolve) => signal?.addEventListener("abort", () => void late.promise.then(resolve)));
      },
    });
    void downloads.start({ name: "a" });
    await turn();
    downloads.pause("a");
    downloads.resume("a");
    await turn();
    expect(begun).toEqual(["a"]);
    late.resolve(CANCELLED);
    await turn();
    expect(begun).toEqual(["a", "a"]);
  });

  test("fails at once where nothing else is wished, and stays in the list until it is started again", async () => {
    const { downloads, found, states, fetches } = open();
    found.set("none", []);
    expect(await downloads.start({ name: "none" })).toMatchObject({ fault: "NO_SOURCE" });
    const ended = downloads.start({ name: "a" });
    await turn();
    fetches[0]?.end(GONE);
    expect(await ended).toEqual(GONE);
    expect(states()).toEqual({ none: "failed", a: "failed" });
    expect(downloads.get("a")?.fault).toEqual(GONE);
    downloads.resume("a");
    await turn();
    expect(states()).toEqual({ none: "failed", a: "running" });
  });
});

describe("a download that keeps trying", () => {
  test("is tried again after growing pauses of at most ten minutes, which begin anew when bytes have come", async () => {
    const { downloads, clock, fetches, states } = open();
    const ended = downloads.start({ name: "a", keepsTrying: true });
    const pauses: number[] = [];
    for (let tries = 1; tries <= 9; tries += 1) {
      await turn();
      expect(fetches.length).toBe(tries);
      fetches[tries - 1]?.end(GONE);
      await turn();
      const { retryAt = 0, fault: why } = downloads.get("a") ?? {};
      expect([states().a, why]).toEqual(["waiting", GONE]);
      pauses.push((retryAt - clock.now()) / 1000);
      await clock.advance(retryAt - clock.now());
    }
    expect(pauses).toEqual([5, 10, 20, 40, 80, 160, 320, 600, 600]);
    fetches[9]?.request.onProgress?.(progress(4));
    fetches[9]?.end(GONE);
    await turn();
    expect((downloads.get("a")?.retryAt ?? 0) - clock.now()).toBe(5000);
    expect(downloads.get("a")?.progress?.bytes).toBe(4);
    await clock.advance(5000);
    fetches[10]?.end(done("a"));
    expect(await ended).toEqual(done("a"));
  });

  test("gives up on what no other try cures", async () => {
    const { downloads, fetches } = open();
    const ended = downloads.start({ name: "a", keepsTrying: true });
    await turn();
    fetches[0]?.end(fault("FILE_EXISTS", "ours"));
    expect(await ended).toMatchObject({ fault: "FILE_EXISTS" });
  });

  test("is tried again when its files cannot be opened for a while, and not when the disk is broken", async () => {
    const { downloads, clock, fetches, states } = open();
    for (const keepsTrying of [true, "found"] as const) {
      const name = String(keepsTrying);
      const ended = downloads.start({ name, keepsTrying });
      await turn();
      fetches.at(-1)?.end(fault("DISK_ERROR", "disk", "create part: EMFILE", true));
      await turn();
      expect(states()).toMatchObject({ [name]: "waiting" });
      await clock.advance(5000);
      fetches.at(-1)?.end(fault("DISK_ERROR", "disk", "create part: EIO"));
      expect(await ended).toMatchObject({ fault: "DISK_ERROR", retry: false });
    }
  });

  test('"found" ends at once where no peer has it, and at what a source says is final', async () => {
    const { downloads, found, fetches } = open();
    found.set("none", []);
    expect(await downloads.start({ name: "none", keepsTrying: "found" })).toMatchObject({ fault: "NO_SOURCE" });
    const ended = downloads.start({ name: "a", keepsTrying: "found" });
    await turn();
    fetches[0]?.end(fault("REFUSED", "theirs"));
    expect(await ended).toMatchObject({ fault: "REFUSED" });
    // The peer of --from did not answer, and no other was found.
    found.set("b", []);
    const asked = downloads.start({ name: "b", from: OTHER, keepsTrying: "found" });
    await turn();
    fetches[1]?.end(fault("PEER_UNREACHABLE", "network", "", true));
    expect(await asked).toMatchObject({ fault: "PEER_UNREACHABLE" });
  });

  test('"found" goes on once a peer had it, also when no peer has it any more', async () => {
    const { downloads, clock, found, fetches, wishes } = open();
    const ended = downloads.start({ name: "a", keepsTrying: "found" });
    await turn();
    fetches[0]?.request.onProgress?.(progress(4));
    found.set("a", []);
    fetches[0]?.end(GONE);
    await turn();
    expect(downloads.get("a")).toMatchObject({ state: "waiting", fault: GONE });
    await clock.advance(5000);
    await turn();
    expect(downloads.get("a")).toMatchObject({ state: "waiting", fault: { fault: "NO_SOURCE" }, isWished: true });
    expect([...wishes]).toEqual(["a"]);
    found.set("a", [PEER]);
    downloads.arrived("a");
    await turn();
    fetches[1]?.end(done("a"));
    expect(await ended).toEqual(done("a"));
  });

  test('"found" is given up after maxWaitSeconds without a byte, after a last try, and at once with 0', async () => {
    const { downloads, clock, fetches } = open();
    const none = downloads.start({ name: "b", keepsTrying: "found", maxWaitSeconds: 0 });
    await turn();
    fetches[0]?.end(GONE);
    expect(await none).toEqual(GONE);
    const began = clock.now();
    const ended = downloads.start({ name: "a", keepsTrying: "found", maxWaitSeconds: 12 });
    let tries = 1;
    await turn();
    await clock.advance(2000);
    fetches[tries]?.request.onProgress?.(progress(1));
    for (; downloads.get("a")?.state !== "failed"; tries += 1) {
      fetches[tries]?.end(GONE);
      await turn();
      const { retryAt } = downloads.get("a") ?? {};
      if (retryAt !== undefined) await clock.advance(retryAt - clock.now());
      await turn();
    }
    expect(await ended).toEqual(GONE);
    expect([tries, clock.now() - began]).toEqual([4, 14_000]);
  });

  test("of a file that no peer has waits until the server says that one has it, without asking again", async () => {
    const { downloads, clock, found, wishes, asked, fetches } = open();
    found.set("a", []);
    const ended = downloads.start({ name: "a", keepsTrying: true });
    await turn();
    await turn();
    expect([...wishes]).toEqual(["a"]);
    expect(asked).toEqual(["a", "a"]); // once more behind the wish
    expect(downloads.get("a")).toMatchObject({ state: "waiting", isWished: true, retryAt: undefined });
    await clock.advance(24 * 3600 * 1000);
    expect(asked.length).toBe(2);
    found.set("a", [PEER]);
    downloads.arrived("a");
    await turn();
    fetches[0]?.end(done("a"));
    expect(await ended).toEqual(done("a"));
  });

  test("is wished for anew when the server was away, asked for again where it tells of its own peers only, and wished no more once cancelled", async () => {
    const told: string[] = [];
    const { downloads, clock, found, asked } = open({
      wish: async () => false,
      unwish: (name) => void told.push(name),
    });
    found.set("a", []);
    void downloads.start({ name: "a", keepsTrying: true });
    await turn();
    await turn();
    await clock.advance(5000);
    expect(asked.length).toBe(4);
    downloads.serverBack();
    await turn();
    await turn();
    expect(asked.length).toBe(6);
    downloads.cancel("a");
    expect(told).toEqual(["a"]);
    expect(downloads.list()).toEqual([]);
  });

  test("tells every change, and nothing to a listener that has gone", async () => {
    const { downloads, events, fetches } = open();
    const others: DownloadsEvent[] = [];
    const stop = downloads.subscribe((event) => others.push(event));
    void downloads.start({ name: "a" });
    await turn();
    stop();
    fetches[0]?.request.onProgress?.(progress(1));
    fetches[0]?.request.onFailed?.(PEER, GONE);
    fetches[0]?.end(done("a"));
    await turn();
    downloads.cancel("a");
    const told = ({ type, ...event }: DownloadsEvent) =>
      "download" in event ? `${type} ${event.download.state}` : type;
    expect(events.map(told)).toEqual([
      "changed queued",
      "changed running",
      "found",
      "asking",
      "progress running",
      "left",
      "changed done",
      "removed",
    ]);
    expect(others.length).toBe(4);
  });

  test("close cancels all, and waits for what is under way", async () => {
    const { downloads } = open({ max: 1 });
    const ended = ["a", "b"].map((name) => downloads.start({ name }));
    await turn();
    await downloads.close();
    expect(await Promise.all(ended)).toMatchObject([{ fault: "CANCELLED" }, { fault: "CANCELLED" }]);
  });
});
