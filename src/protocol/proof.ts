// How a peer proves to the server that it is the one who listens at its address: a secret key, a nonce, their hash.
// Invariant: the proof of a nonce that was never asked before cannot be told without the key.
// Never: makes a key or a nonce; the callers have randomness.

/** 128 bits as 32 lower-case hex digits: a key, a nonce, a ticket. */
export const isHex128 = (text: string | undefined): text is string => text !== undefined && /^[0-9a-f]{32}$/.test(text);

/** A proof as PROBE_OK may carry it: a SHA-256, or the nonce itself. */
export const isProof = (text: string): boolean => /^(?:[0-9a-f]{32}){1,2}$/.test(text);

/** What PROBE is answered: SHA-256 of the key's and the nonce's text; the nonce itself where there is no key. */
export function proofOf(key: string | undefined, nonce: string): string {
  return key === undefined ? nonce : Bun.SHA256.hash(`${key}${nonce}`, "hex");
}
