// The peer's side of discovery: asks all machines of its own networks which of them are servers.
// Invariant: asks at the times of ASKED_AT_MS and no more; takes only answers to its own question, of that network.
// Never: trusts what it finds: an address, until what is there has proved itself.

import { type Address, formatAddress, isIn } from "../protocol/address.ts";
import {
  DISCOVERY_GROUP,
  DISCOVERY_PORT,
  type DiscoveryAnswer,
  decodeAnswer,
  encodeQuestion,
} from "../protocol/discovery.ts";
import { isFault } from "../protocol/fault.ts";
import type { Clock } from "../shared/clock.ts";
import type { Datagrams, Subnet } from "../transport/datagrams.ts";
import type { DiscoveryNet } from "./discovery-net.ts";

export type FoundServer = Pick<DiscoveryAnswer, "name" | "id"> & { readonly address: Address };

export const ASKED_AT_MS = [0, 150, 500] as const;
/** So long after the last question an answer may come. */
const LAST_ANSWER_MS = 150;
/** So long after the first answer those of other servers are waited for. */
export const OTHERS_MS = 40;
/** More are not kept: a person cannot choose among them, and they may be one machine's invention. */
export const FOUND_SERVERS_MAX = 16;

/** The servers that answer, in the order of their addresses. Takes 0.7 s when none does, and OTHERS_MS after the first. */
export async function searchServers(net: DiscoveryNet, clock: Clock, signal?: AbortSignal): Promise<FoundServer[]> {
  const nonce = net.newNonce();
  const question = encodeQuestion(nonce);
  const found = new Map<string, FoundServer>();
  const { promise: over, resolve: finish } = Promise.withResolvers<void>();
  const timers: (() => void)[] = [];
  const after = (ms: number, then: () => void): void => void timers.push(clock.after(ms, then));

  const hear = (subnet: Subnet) => (bytes: Uint8Array, from: Address) => {
    const answer = decodeAnswer(bytes);
    if (answer?.nonce !== nonce || !isIn(from.ip, subnet.range) || found.size >= FOUND_SERVERS_MAX) return;
    const { name, id, port } = answer;
    const address = { ip: from.ip, port };
    // One that has an identity and several addresses is one server; machines that were copied have one ID and other names.
    const key = id === undefined ? formatAddress(address) : `${id} ${port} ${name}`;
    if (found.has(key)) return;
    found.set(key, { address, name, id });
    if (found.size === 1) after(OTHERS_MS, finish);
  };

  const subnets = net.subnets();
  const opened = await Promise.all(
    subnets.map((subnet) => net.open({ at: { ip: subnet.ip, port: 0 }, sendsToAll: true }, hear(subnet))),
  );
  const asking = opened.flatMap((datagrams, index) => {
    const subnet = subnets[index];
    return isFault(datagrams) || subnet === undefined ? [] : [{ datagrams, subnet }];
  });
  const ask = (): void => {
    for (const { datagrams, subnet } of asking) askAll(datagrams, subnet, question);
  };
  for (const ms of ASKED_AT_MS) {
    if (ms === 0) ask();
    else after(ms, ask);
  }
  after(Math.max(...ASKED_AT_MS) + LAST_ANSWER_MS, finish);
  signal?.addEventListener("abort", () => finish());
  if (asking.length === 0 || signal?.aborted) finish();
  await over;
  for (const cancel of timers) cancel();
  for (const { datagrams } of asking) datagrams.close();
  return [...found.values()].sort(compare);
}

function askAll(datagrams: Datagrams, { broadcast }: Subnet, question: Uint8Array): void {
  datagrams.send(question, { ip: DISCOVERY_GROUP, port: DISCOVERY_PORT });
  if (broadcast !== undefined) datagrams.send(question, { ip: broadcast, port: DISCOVERY_PORT });
}

const compare = (a: FoundServer, b: FoundServer): number =>
  formatAddress(a.address) < formatAddress(b.address) ? -1 : 1;
