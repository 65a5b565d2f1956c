// The ID of a program: what its public key amounts to, in 52 characters that a person can compare.
// Invariant: an Id is RFC 4648's base32 of 32 bytes, in upper case, without padding; each value has one spelling.
// Never: hashes, or knows a key; shared/identity.ts does.

/** SHA-256 of the public key (SPKI, DER) as 52 characters of A–Z and 2–7. */
export type Id = string;

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/** The last character holds one bit of the 256. */
const ID = /^[A-Z2-7]{51}[AQ]$/;

export function isId(text: string): text is Id {
  return ID.test(text);
}

/** The ID that these 32 bytes are. */
export function idOfHash(hash: Uint8Array): Id {
  let id = "";
  let held = 0;
  let bits = 0;
  for (const byte of hash) {
    held = (held << 8) | byte;
    for (bits += 8; bits >= 5; bits -= 5) id += ALPHABET[(held >> (bits - 5)) & 31];
    held &= (1 << bits) - 1;
  }
  return bits === 0 ? id : id + ALPHABET[(held << (5 - bits)) & 31];
}

/** What a person typed or pasted: in groups or not, in either case. Undefined when it is no ID. */
export function readId(text: string): Id | undefined {
  const id = text.replace(/[- ]/g, "").toUpperCase();
  return isId(id) ? id : undefined;
}

/** In groups of four, as a person reads it. */
export function showId(id: Id): string {
  return (id.match(/.{4}/g) ?? []).join("-");
}
