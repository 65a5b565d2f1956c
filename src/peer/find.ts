// FIND asked page by page: the contents that have some words in a name, as many as are wanted.
// Invariant: no content comes twice, although names come and go between two pages.
// Never: asks for more than the limits of the protocol allow.

import { type Fault, isFault } from "../protocol/fault.ts";
import { FIND_COUNT_MAX, FIND_OFFSET_MAX } from "../protocol/limits.ts";
import type { Found } from "../protocol/messages.ts";
import { decodeFound } from "../protocol/payloads.ts";
import { expectReply } from "../transport/caller.ts";
import type { ServerLink } from "./server-link.ts";

export type FoundWords = {
  /** Those with most sources first. */
  readonly found: readonly Found[];
  /** How many others there are, as far as the pages go. */
  readonly more: number;
  /** There are others yet: FIND goes no further. */
  readonly isCut: boolean;
  /** The server is without the index that it shares: there may be others. */
  readonly isPartial?: boolean;
};

/** At most `most` contents, and how many there are. */
export async function findWords(
  link: Pick<ServerLink, "call">,
  words: string,
  most: number,
): Promise<FoundWords | Fault> {
  const found = new Map<string, Found>();
  let isCut = false;
  let isPartial = false;
  for (let offset = 0; offset <= FIND_OFFSET_MAX; ) {
    const answer = expectReply(await link.call({ verb: "FIND", offset, count: FIND_COUNT_MAX, words }), "FIND_OK");
    if (isFault(answer)) return answer;
    const page = decodeFound(answer.payload);
    if (isFault(page)) return page;
    for (const one of page) found.set(one.root ?? `${one.size} ${one.name}`, one);
    const { next, partial = false } = answer.reply;
    isPartial ||= partial;
    isCut = offset === FIND_OFFSET_MAX && page.length === FIND_COUNT_MAX;
    if (next <= offset) break;
    offset = next;
  }
  const all = [...found.values()];
  return { found: all.slice(0, most), more: Math.max(0, all.length - most), isCut, ...(isPartial && { isPartial }) };
}
