// A JOIN before it is answered: its address is checked and dialled first, and only then its payload read.
// Invariant: of a long list no object is kept for each name; it is read from the payload again when it is walked.
// Never: answers, or takes long at a stretch.

import { runInSlices, runSoon } from "../catalog/time-slices.ts";
import { type Fault, isFault } from "../protocol/fault.ts";
import type { Order } from "../protocol/orders.ts";
import { readShares, type ShareList } from "../protocol/payloads.ts";
import type { Admission, JoinRequest, Prepared } from "./admission.ts";
import type { ClientConnection } from "./client-connection.ts";
import type { Names } from "./events.ts";

/** A JOIN's payload up to this size is read at once; it takes less than a millisecond. */
const READ_AT_ONCE_BYTES_MAX = 32 * 1024;

type Parts = {
  readonly admission: Admission;
  readonly namesMax: number;
  readonly isHere: (client: ClientConnection) => boolean;
};

/** What is to be answered to; a fault that is the answer; undefined when the client is gone. */
export async function prepareJoin(
  { admission, namesMax, isHere }: Parts,
  client: ClientConnection,
  request: JoinRequest,
  payload: Order["payload"],
): Promise<Prepared | Fault | undefined> {
  const checked = await admission.check(client, request);
  if (!isHere(client)) return undefined;
  if (isFault(checked)) return checked;
  const reading = readShares(payload, namesMax);
  const shares = await (request.payloadBytes > READ_AT_ONCE_BYTES_MAX ? runInSlices : runSoon)(reading);
  if (isFault(shares)) return shares;
  const names = namesOf(shares);
  return { ...checked, shares, names, digest: await admission.digest(client, checked, names) };
}

function namesOf(shares: ShareList): Names {
  if (Array.isArray(shares)) return (shares as ShareList & { name: string }[]).map(({ name }) => name);
  return {
    length: shares.length,
    bytes: shares.nameBytes,
    *[Symbol.iterator]() {
      for (const { name } of shares) yield name;
    },
  };
}
