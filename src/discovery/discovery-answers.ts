// The server's side of discovery: says where it listens to peers of its own networks that ask.
// Invariant: at most ANSWERS_PER_SECOND_MAX answers a second in all, each no longer than its question, and only to an
// address in a network of this machine.
// Never: answers for a server that listens on 127.0.0.0/8, or where the asker would not find it.

import { type Address, AS_SEEN, isIn, isLoopback } from "../protocol/address.ts";
import { DISCOVERY_GROUP, DISCOVERY_PORT, decodeQuestion, encodeAnswer } from "../protocol/discovery.ts";
import { type Fault, isFault } from "../protocol/fault.ts";
import { type Clock, every } from "../shared/clock.ts";
import { createTokenBucket, REQUESTS } from "../shared/token-bucket.ts";
import type { Subnet } from "../transport/datagrams.ts";
import type { DiscoveryNet } from "./discovery-net.ts";

export const ANSWERS_PER_SECOND_MAX = 20;
/** A peer asks three times; one that asks on and on must not take the answers of others. */
export const ANSWERS_PER_ADDRESS_MAX = 4;
/** The same question comes by multicast and by broadcast, through each interface. */
export const SAME_QUESTION_MS = 100;
/** Interfaces that come later, or come back, are joined so soon. */
export const INTERFACES_MS = 10_000;

export type DiscoveryAnswersOptions = {
  readonly net: DiscoveryNet;
  readonly clock: Clock;
  /** Where the server accepts peers. */
  readonly listening: Address;
  readonly name: string;
  readonly id?: string | undefined;
};

export type DiscoveryAnswers = { close(): void };

/** Undefined where no peer of another machine could reach the server. Faults: those of opening the port. */
export async function createDiscoveryAnswers(
  options: DiscoveryAnswersOptions,
): Promise<DiscoveryAnswers | Fault | undefined> {
  const { net, clock, listening, name, id } = options;
  if (isLoopback(listening.ip)) return undefined;
  const mayAnswer = createAnswerLimit(clock);
  let subnets: readonly Subnet[] = [];

  const opened = await net.open({ at: { ip: AS_SEEN, port: DISCOVERY_PORT }, isShared: true }, (bytes, from) => {
    const nonce = decodeQuestion(bytes);
    if (nonce !== undefined && isNear(from.ip, subnets) && mayAnswer(from, nonce)) void answer(nonce, from);
  });
  if (isFault(opened)) return opened;

  async function answer(nonce: string, to: Address): Promise<void> {
    // The asker takes the address that the answer comes from.
    if (listening.ip !== AS_SEEN && (await net.localIp(to.ip)) !== listening.ip) return;
    const bytes = encodeAnswer({ nonce, port: listening.port, id, name });
    if (!isFault(opened)) opened.send(bytes, to);
  }

  function look(): void {
    subnets = net.subnets().filter(({ ip }) => listening.ip === AS_SEEN || ip === listening.ip);
    if (!isFault(opened)) for (const { ip } of subnets) opened.join(DISCOVERY_GROUP, ip);
  }
  look();
  const stop = every(clock, INTERFACES_MS, look);
  return {
    close() {
      stop();
      opened.close();
    },
  };
}

/** A machine of one of these networks: not its first and last address, which mean all of them. */
const isNear = (ip: string, subnets: readonly Subnet[]): boolean =>
  subnets.some((subnet) => isIn(ip, subnet.range) && ip !== subnet.broadcast && !isFirst(ip, subnet));

const isFirst = (ip: string, { range, broadcast }: Subnet): boolean => broadcast !== undefined && ip === range.ip;

/** Whether this question gets one of the answers that may be given. What it keeps is bounded by their number. */
function createAnswerLimit(clock: Clock): (from: Address, nonce: string) => boolean {
  const all = createTokenBucket(ANSWERS_PER_SECOND_MAX, clock, REQUESTS);
  const given: { readonly ip: string; readonly question: string; readonly at: number }[] = [];
  return ({ ip, port }, nonce) => {
    const now = clock.now();
    while (given[0] !== undefined && now - given[0].at >= 1000) given.shift();
    const question = `${ip}:${port} ${nonce}`;
    if (given.some((one) => one.question === question && now - one.at < SAME_QUESTION_MS)) return false;
    if (given.filter((one) => one.ip === ip).length >= ANSWERS_PER_ADDRESS_MAX) return false;
    if (all.take(1, now) === 0) return false;
    given.push({ ip, question, at: now });
    return true;
  };
}
