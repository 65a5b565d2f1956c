// An invitation to a closed server: a code that a person passes on, and the proof of it that travels.
// Invariant: a proof is worth something on one TLS connection only; the code itself is never sent.
// Never: makes a code or opens a connection; the callers have randomness and sockets.

/** What both ends of a TLS connection derive for this purpose (RFC 5705), and how much of it. */
export const INVITE_LABEL = "EXPORTER-napster-invite";
export const INVITE_CHANNEL_BYTES = 32;

/** 120 bits: a wrong server that is shown a proof cannot find the code by trying. */
const CODE = /^[A-Z2-7]{24}$/;
const PROOF = /^[0-9a-f]{64}$/;

/** Without the groups of four, in upper case; undefined when it is no code. */
export function readInvite(text: string): string | undefined {
  const code = text.replace(/[- ]/g, "").toUpperCase();
  return CODE.test(code) ? code : undefined;
}

export const isInviteProof = (text: string): boolean => PROOF.test(text);

/** HMAC-SHA-256 of what the connection's ends share, in hexadecimal. */
export const inviteProof = (code: string, channel: Uint8Array): string =>
  new Bun.CryptoHasher("sha256", code).update(channel).digest("hex");

/** Whether that code made this proof on this connection. How long it takes does not tell how much of the proof is right. */
export function provesInvite(proof: string, code: string, channel: Uint8Array): boolean {
  const right = inviteProof(code, channel);
  let differences = proof.length ^ right.length;
  for (let i = 0; i < right.length; i++) differences |= proof.charCodeAt(i) ^ right.charCodeAt(i);
  return differences === 0;
}
