// What an operator's tools read of a server: counters that agree with what was asked, and pages that say so.
// Invariant: the text is read back by the rules of the exposition format, not compared as a whole.
// Never: waits for time to pass.

import { describe, expect, test } from "bun:test";
import { createMetrics } from "../../src/servidor/metrics.ts";
import { serveText } from "../../src/transport/http.ts";
import { closeAfterTest } from "../support/closing.ts";
import { codeOf, good } from "../support/good.ts";
import { openRaw } from "../support/raw.ts";
import { dial, startServidor } from "../support/servidor.ts";

const GAUGES = {
  peers: 1,
  entries: 2,
  catalogBytes: 3,
  wordsWaiting: 5,
  connections: 4,
  unlisted: 5,
  wishes: 6,
  listening: true,
  indexShared: undefined,
  otherServers: 0,
  otherEntries: 0,
};

/** name{labels} -> value; throws where a line is none of the format's. */
function read(text: string): Map<string, number> {
  const values = new Map<string, number>();
  const typed = new Set<string>();
  expect(text).toEndWith("\n");
  for (const line of text.slice(0, -1).split("\n")) {
    const type = /^# TYPE (\w+) (?:counter|gauge|histogram)$/.exec(line)?.[1];
    if (type !== undefined) typed.add(type);
    if (line.startsWith("# ")) continue;
    const [, name = "", labels = "", value] = /^(\w+)(\{[^}]*\})? (\S+)$/.exec(line) ?? [];
    expect(typed.has(name.replace(/_(?:bucket|sum|count)$/, "")) || typed.has(name), line).toBeTrue();
    expect(Number(value), line).not.toBeNaN();
    values.set(name + labels, Number(value));
  }
  return values;
}

test("requests are counted by verb and outcome, and each falls into every bucket from its latency on", () => {
  const metrics = createMetrics();
  metrics.answered("SEARCH", "ok", 0.2, 3);
  metrics.answered("SEARCH", "BAD_NAME", 0);
  metrics.answered("JOIN", "ok", 300);
  metrics.answered("JOIN", "ok", 60_000);
  const values = read(metrics.text(GAUGES));
  expect(values.get('napster_requests_total{verb="SEARCH",outcome="ok"}')).toBe(3);
  expect(values.get('napster_requests_total{verb="SEARCH",outcome="BAD_NAME"}')).toBe(1);
  expect(values.get('napster_request_seconds_bucket{le="0.0001"}')).toBe(1);
  expect(values.get('napster_request_seconds_bucket{le="0.00025"}')).toBe(4);
  expect(values.get('napster_request_seconds_bucket{le="0.25"}')).toBe(4);
  expect(values.get('napster_request_seconds_bucket{le="0.5"}')).toBe(5);
  expect(values.get('napster_request_seconds_bucket{le="+Inf"}')).toBe(6);
  expect(values.get("napster_request_seconds_count")).toBe(6);
  expect(values.get("napster_request_seconds_sum")).toBeCloseTo(60.3006);
  expect([...values.keys()]).not.toContain("napster_index_shared");
});

test("the lag is the longest of this window and the one before", () => {
  const metrics = createMetrics();
  const lag = () => read(metrics.text(GAUGES)).get("napster_event_loop_lag_seconds");
  metrics.lagged(50, 16_000);
  metrics.lagged(5, 20_000);
  expect(lag()).toBe(0.05);
  metrics.lagged(7, 40_000);
  expect(lag()).toBe(0.05);
  metrics.lagged(1, 60_000);
  expect(lag()).toBe(0.007);
});

describe("a server", () => {
  test("serves both pages, and nothing else, until it is closed", async () => {
    const server = startServidor({ probe: false });
    const { servidor } = server;
    const door = good(servidor.serveOperations({ ip: "127.0.0.1", port: 0 }));
    const page = (path: string, init?: RequestInit) => fetch(`http://127.0.0.1:${door.port}${path}`, init);
    const raw = await dial(server);
    const first = "JOIN 127.0.0.1:5000 10\n1 - a.mp4\nSEARCH a.mp4\nSEARCH a.mp4\nSEARCH b.mp4\nSEARCH ../\nFROB\n";
    const second = "SEARCH a.mp4\nSEARCH a.mp4\n";
    raw.send(first);
    await raw.lines(8);
    raw.send(second);
    await raw.lines(4);
    const metrics = await page("/metrics");
    expect(metrics.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
    const values = read(await metrics.text());
    expect(values.get("napster_peers")).toBe(1);
    expect(values.get("napster_unlisted_peers")).toBe(0);
    expect(values.get("napster_entries")).toBe(1);
    expect(values.get("napster_connections")).toBe(1);
    expect(values.get('napster_requests_total{verb="JOIN",outcome="ok"}')).toBe(1);
    expect(values.get('napster_requests_total{verb="SEARCH",outcome="ok"}')).toBe(5);
    expect(values.get('napster_requests_total{verb="unknown",outcome="BAD_NAME"}')).toBe(1);
    expect(values.get('napster_faults_total{code="UNKNOWN_VERB"}')).toBe(1);
    expect(values.get("napster_request_seconds_count")).toBe(8);
    expect(values.get("napster_received_bytes_total")).toBe(first.length + second.length);
    expect(values.get("napster_sent_bytes_total")).toBe(raw.received);
    expect(await (await page("/healthz")).text()).toBe("ok\n");
    expect((await page("/nothing")).status).toBe(404);
    expect((await page("/metrics", { method: "POST" })).status).toBe(405);
    await servidor.close();
    expect(await page("/healthz").catch(() => "closed")).toBe("closed");
  });

  test("that cannot have its door says which fault", () => {
    const { servidor, address } = startServidor({ probe: false });
    expect(codeOf(servidor.serveOperations(address))).toBe("PORT_IN_USE");
    const other = good(servidor.serveOperations({ ip: "127.0.0.1", port: 0 }));
    expect(codeOf(servidor.serveOperations(other))).toBe("PORT_IN_USE");
  });
});

describe("the operator's door", () => {
  const page = (text: string) => ({ status: 200, type: "text/plain", text });
  async function ask(request: string, pageOf = (path: string) => (path === "/healthz" ? page("ok\n") : undefined)) {
    const door = good(serveText({ ip: "127.0.0.1", port: 0 }, pageOf));
    closeAfterTest(() => door.close());
    using raw = await openRaw(door.address);
    raw.send(request);
    return await raw.rest();
  }

  test.each([
    ["GET /healthz HTTP/1.0\r\n\r\n", 200],
    ["GET /healthz HTTP/1.0\r\nHost: \r\n\r\n", 200],
    ["GET /healthz?a=b HTTP/1.0\r\n\r\n", 200],
    ["GET /healthz HTTP/1.1\r\nHost: a b [::\r\n\r\n", 200],
    ["GET http://x:99999/healthz HTTP/1.1\r\nHost: x\r\n\r\n", 200],
    ["HEAD /healthz HTTP/1.0\r\n\r\n", 200],
    ["GET /healthz HTTP/1.1\r\n\r\n", 400],
    ["GET / HTTP/1.0\r\n\r\n", 404],
    ["GET /%zz%00 HTTP/1.0\r\n\r\n", 404],
    ["GET //healthz HTTP/1.0\r\n\r\n", 404],
    ["POST /healthz HTTP/1.0\r\nContent-Length: 2\r\n\r\nab", 405],
    ["\u0000\u0001\r\n\r\n", 400],
    ["HELLO 1\n\r\n\r\n", 400],
  ])("answers %j with %d, and says nothing of the program", async (request, status) => {
    const answer = await ask(request);
    expect(answer).toStartWith(`HTTP/1.1 ${status} `);
    expect(answer.length).toBeLessThan(300);
    expect(answer).not.toContain(process.cwd());
  });

  test("answers 500 in a line of its own where a page cannot be made", async () => {
    const answer = await ask("GET /healthz HTTP/1.0\r\n\r\n", () => {
      throw new Error("a secret of the program");
    });
    expect(answer).toStartWith("HTTP/1.1 500 ");
    expect(answer).toEndWith("\r\n\r\ninternal error\n");
    expect(answer).not.toContain("secret");
  });
});
