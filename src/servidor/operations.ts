// What an operator's tools read of a running server: /metrics for Prometheus and /healthz for the program that watches over it.
// Invariant: reading changes nothing, and the lag of the event loop is measured for as long as it may be read.
// Never: listens unless it was told where.

import type { Address } from "../protocol/address.ts";
import { type Fault, isFault } from "../protocol/fault.ts";
import type { Clock } from "../shared/clock.ts";
import type { Listener } from "../transport/connection.ts";
import { serveText } from "../transport/http.ts";
import type { Gauges, Metrics } from "./metrics.ts";

/** How often the event loop is asked to be on time. */
const LAG_EVERY_MS = 100;

/** Serves both pages at `at`; faults as those of listen. */
export function serveOperations(at: Address, metrics: Metrics, clock: Clock, gauges: () => Gauges): Listener | Fault {
  const listener = serveText(at, (path) => {
    if (path === "/metrics")
      return { status: 200, type: "text/plain; version=0.0.4; charset=utf-8", text: metrics.text(gauges()) };
    if (path !== "/healthz") return undefined;
    // Without the shared index a server still serves its own peers: it is well, and says what it lacks.
    const { listening, indexShared } = gauges();
    const lacking = indexShared === false ? "ok, without the shared index\n" : "ok\n";
    return listening
      ? { status: 200, type: "text/plain; charset=utf-8", text: lacking }
      : { status: 503, type: "text/plain; charset=utf-8", text: "stopping\n" };
  });
  if (isFault(listener)) return listener;
  let cancel = (): void => {};
  const measure = (): void => {
    const due = clock.now() + LAG_EVERY_MS;
    cancel = clock.after(LAG_EVERY_MS, () => {
      metrics.lagged(Math.max(0, clock.now() - due), clock.now());
      measure();
    });
  };
  measure();
  return {
    address: listener.address,
    close() {
      cancel();
      listener.close();
    },
  };
}
