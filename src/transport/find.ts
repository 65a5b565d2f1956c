// FIND asked page by page: the contents that have some words in a name, as many as are wanted.
// Invariant: no content comes twice, although names come and go between two pages.
// Never: asks for more than the limits of the protocol allow.

import { type Fault, isFault } from "../protocol/fault.ts";
import { FIND_COUNT_MAX, FIND_OFFSET_MAX } from "../protocol/limits.ts";
import type { Found } from "../protocol/messages.ts";
import { decodeFound } from "../protocol/payloads.ts";
import { expectReply } from "./caller.ts";
import type { ServerLink } from "./server-link.ts";

/** At most `most` contents, those with most sources first. */
export async function findWords(
  link: Pick<ServerLink, "call">,
  words: string,
  most: number,
): Promise<readonly Found[] | Fault> {
  const found = new Map<string, Found>();
  for (let offset = 0; found.size < most && offset <= FIND_OFFSET_MAX; ) {
    const count = Math.min(FIND_COUNT_MAX, most - found.size);
    const answer = expectReply(await link.call({ verb: "FIND", offset, count, words }), "FIND_OK");
    if (isFault(answer)) return answer;
    const page = decodeFound(answer.payload);
    if (isFault(page)) return page;
    for (const one of page) found.set(one.root ?? `${one.size} ${one.name}`, one);
    const { next } = answer.reply;
    if (next <= offset) break;
    offset = next;
  }
  return [...found.values()];
}
