// The two datagrams by which a peer finds a server in its own network: a question to all, an answer to one.
// Invariant: an answer is never longer than the question; a datagram that is not exactly right is no message.
// Never: says anything that is trusted: an answer names an address, and what is there has to prove itself.

import { parsePort } from "./address.ts";
import { type Id, isId } from "./id.ts";
import { nameFlaw } from "./names.ts";

/** Where every server of a network hears the question: UDP, the port of the protocol. */
export const DISCOVERY_GROUP = "239.192.10.99";
export const DISCOVERY_PORT = 1099;

/** The question is padded to this size, so that no answer is longer. */
export const QUESTION_BYTES = 256;
/** A longer one is none of ours. */
const QUESTION_BYTES_MAX = 512;
const ANSWER_BYTES_MAX = QUESTION_BYTES;
export const SERVER_NAME_BYTES_MAX = 63;

export type DiscoveryAnswer = {
  /** The question's own, 16 hexadecimal digits: what is not known from there was not asked here. */
  readonly nonce: string;
  readonly port: number;
  /** The server's identity; undefined for one that does not encrypt. */
  readonly id: Id | undefined;
  readonly name: string;
};

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true });

const QUESTION = /^NAPSTER\? 1 ([0-9a-f]{16})$/;
const ANSWER = /^NAPSTER 1 ([0-9a-f]{16}) (\d{1,5}) (\S+) (.+)$/;

export function encodeQuestion(nonce: string): Uint8Array {
  const bytes = new Uint8Array(QUESTION_BYTES);
  bytes.set(encoder.encode(`NAPSTER? 1 ${nonce}\n`));
  return bytes;
}

/** The nonce of a question; undefined when it is none. What follows its line is padding. */
export function decodeQuestion(bytes: Uint8Array): string | undefined {
  if (bytes.length < QUESTION_BYTES || bytes.length > QUESTION_BYTES_MAX) return undefined;
  return QUESTION.exec(firstLine(bytes) ?? "")?.[1];
}

export function encodeAnswer({ nonce, port, id = "-", name }: DiscoveryAnswer): Uint8Array {
  return encoder.encode(`NAPSTER 1 ${nonce} ${port} ${id} ${name}\n`);
}

export function decodeAnswer(bytes: Uint8Array): DiscoveryAnswer | undefined {
  if (bytes.length > ANSWER_BYTES_MAX) return undefined;
  const [, nonce = "", digits = "", id = "", name = ""] = ANSWER.exec(firstLine(bytes) ?? "") ?? [];
  const port = parsePort(digits);
  if (port === undefined || !isServerName(name) || (id !== "-" && !isId(id))) return undefined;
  return { nonce, port, id: id === "-" ? undefined : id, name };
}

/** Whether a server may call itself so: what can be a file's name is harmless in a terminal too. */
export const isServerName = (name: string): boolean =>
  nameFlaw(name) === undefined && encoder.encode(name).length <= SERVER_NAME_BYTES_MAX;

function firstLine(bytes: Uint8Array): string | undefined {
  const end = bytes.indexOf(0x0a);
  if (end < 0) return undefined;
  try {
    return decoder.decode(bytes.subarray(0, end));
  } catch {
    return undefined;
  }
}
