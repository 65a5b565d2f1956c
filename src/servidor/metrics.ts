// What the server counts of its own work, as Prometheus reads it (text exposition format 0.0.4).
// Invariant: counters only grow; a label's values are verbs and fault codes of ours, never anything that a peer sent.
// Never: costs more than a few additions for a request. Text is made when it is asked for.

import type { FaultCode } from "../protocol/fault.ts";

/** Upper bounds of the latency buckets, in seconds: from a fast SEARCH to a JOIN that everyone waits for. */
const BOUNDS = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10];
/** The longest lag is that of this window and the one before it. */
const LAG_WINDOW_MS = 15_000;

export type Gauges = {
  readonly peers: number;
  readonly entries: number;
  readonly catalogBytes: number;
  readonly wordsWaiting: number;
  readonly connections: number;
  readonly unlisted: number;
  readonly wishes: number;
  readonly listening: boolean;
  /** Whether the shared index is there; undefined when there is none. */
  readonly indexShared: boolean | undefined;
  /** Of the shared index: other servers, and what their peers have. */
  readonly otherServers: number;
  readonly otherEntries: number;
};

export type Metrics = {
  /** `count` requests of this verb came to "ok" or a fault after `ms`. */
  answered(verb: string, outcome: "ok" | FaultCode, ms: number, count?: number): void;
  fault(code: FaultCode): void;
  /** What a dial back to a peer came to. */
  probed(outcome: string): void;
  received(bytes: number): void;
  sent(bytes: number): void;
  /** The event loop was late by so much. */
  lagged(ms: number, now: number): void;
  text(gauges: Gauges): string;
};

export function createMetrics(): Metrics {
  const requests = new Map<string, Map<string, number>>(); // verb -> outcome
  const faults = new Map<string, number>();
  const probes = new Map<string, number>();
  const buckets = new Float64Array(BOUNDS.length + 1);
  let seconds = 0;
  let bytesIn = 0;
  let bytesOut = 0;
  let lag = { since: 0, max: 0, before: 0 };

  const add = (map: Map<string, number>, key: string, count: number): void => {
    map.set(key, (map.get(key) ?? 0) + count);
  };

  function latencyLines(): string[] {
    let total = 0;
    const lines = [...buckets].map((count, i) => {
      total += count;
      return `napster_request_seconds_bucket{le="${BOUNDS[i] ?? "+Inf"}"} ${total}`;
    });
    return [...lines, `napster_request_seconds_sum ${seconds}`, `napster_request_seconds_count ${total}`];
  }

  return {
    answered(verb, outcome, ms, count = 1) {
      let outcomes = requests.get(verb);
      if (outcomes === undefined) {
        outcomes = new Map();
        requests.set(verb, outcomes);
      }
      add(outcomes, outcome, count);
      let bucket = 0;
      while (bucket < BOUNDS.length && ms > (BOUNDS[bucket] as number) * 1000) bucket++;
      buckets[bucket] = (buckets[bucket] as number) + count;
      seconds += (ms / 1000) * count;
    },
    fault: (code) => add(faults, code, 1),
    probed: (outcome) => add(probes, outcome, 1),
    received(bytes) {
      bytesIn += bytes;
    },
    sent(bytes) {
      bytesOut += bytes;
    },
    lagged(ms, now) {
      if (now - lag.since > LAG_WINDOW_MS) lag = { since: now, max: 0, before: lag.max };
      lag.max = Math.max(lag.max, ms);
    },
    text(gauges) {
      const { user, system } = process.cpuUsage();
      const families: [name: string, type: string, help: string, lines: readonly string[]][] = [
        gauge("napster_peers", "Peers that are in and listed.", gauges.peers),
        gauge("napster_unlisted_peers", "Peers that are in and in no list.", gauges.unlisted),
        gauge("napster_entries", "Files announced by them.", gauges.entries),
        gauge("napster_catalog_bytes", "Memory of the catalog's tables.", gauges.catalogBytes),
        gauge("napster_find_backlog", "Names that FIND does not know yet.", gauges.wordsWaiting),
        gauge("napster_wishes", "Names that peers wish for.", gauges.wishes),
        gauge("napster_connections", "Open connections, joined or not.", gauges.connections),
        [
          "napster_requests_total",
          "counter",
          "Requests by verb and outcome: ok, or a fault's code.",
          [...requests].flatMap(([verb, outcomes]) =>
            [...outcomes].map(([outcome, n]) => `napster_requests_total{verb="${verb}",outcome="${outcome}"} ${n}`),
          ),
        ],
        ["napster_request_seconds", "histogram", "From a request's arrival to its reply.", latencyLines()],
        [
          "napster_probes_total",
          "counter",
          "Peers dialled back when they joined, by outcome: reached, unreached, unknown (we could not dial).",
          [...probes].map(([outcome, n]) => `napster_probes_total{outcome="${outcome}"} ${n}`),
        ],
        counter("napster_received_bytes_total", "Bytes from peers.", bytesIn),
        counter("napster_sent_bytes_total", "Bytes handed to the system for peers.", bytesOut),
        [
          "napster_faults_total",
          "counter",
          "Faults by code, those of connections included.",
          [...faults].map(([code, n]) => `napster_faults_total{code="${code}"} ${n}`),
        ],
        gauge(
          "napster_event_loop_lag_seconds",
          "Longest delay of a timer in the last 15 to 30 seconds.",
          Math.max(lag.max, lag.before) / 1000,
        ),
        gauge("process_resident_memory_bytes", "Resident memory.", process.memoryUsage.rss()),
        counter("process_cpu_seconds_total", "CPU time.", (user + system) / 1e6),
      ];
      if (gauges.indexShared !== undefined)
        families.push(
          gauge("napster_index_shared", "1 while the shared index is there.", Number(gauges.indexShared)),
          gauge("napster_index_servers", "Other servers in the shared index.", gauges.otherServers),
          gauge("napster_index_entries", "Files announced by their peers.", gauges.otherEntries),
        );
      return families
        .map(([name, type, help, lines]) => `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${lines.join("\n")}\n`)
        .join("")
        .replaceAll("\n\n", "\n");
    },
  };
}

type Family = [name: string, type: string, help: string, lines: readonly string[]];
const gauge = (name: string, help: string, value: number): Family => [name, "gauge", help, [`${name} ${value}`]];
const counter = (name: string, help: string, value: number): Family => [name, "counter", help, [`${name} ${value}`]];
