// A program's key pair, the certificate that shows it, and the ID that others know it by.
// Invariant: the ID is that of the public key alone; nothing else in a certificate counts, its dates least of all.
// Never: stores a key; content/identity-file.ts does.

import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
  type X509Certificate,
} from "node:crypto";
import { type Id, idOfHash } from "../protocol/id.ts";

/** Plain data, so that it can be handed to a thread. `key` is PKCS#8, both are PEM. */
export type Identity = { readonly id: Id; readonly key: string; readonly certificate: string };

/** A new Ed25519 key, as PKCS#8 in PEM. */
export function newKey(): string {
  return generateKeyPairSync("ed25519").privateKey.export({ type: "pkcs8", format: "pem" }) as string;
}

/** What this key makes, with a new certificate; undefined when it is no Ed25519 key in PEM. */
export function identityOf(key: string): Identity | undefined {
  try {
    const secret = createPrivateKey(key);
    if (secret.asymmetricKeyType !== "ed25519") return undefined;
    const spki = spkiOf(createPublicKey(secret));
    return { id: idOf(spki), key, certificate: certify(secret, spki) };
  } catch {
    return undefined;
  }
}

/** The ID of the key that a certificate shows; undefined for a key of another kind, as those of the web are. */
export const idOfCertificate = ({ publicKey }: X509Certificate): Id | undefined =>
  publicKey.asymmetricKeyType === "ed25519" ? idOf(spkiOf(publicKey)) : undefined;

const spkiOf = (key: KeyObject): Uint8Array => key.export({ type: "spki", format: "der" });
const idOf = (spki: Uint8Array): Id => idOfHash(createHash("sha256").update(spki).digest());

/** DER: tag, length, content. */
function der(tag: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const body = Buffer.concat(parts);
  const { length } = body;
  const head = length < 128 ? [tag, length] : length < 256 ? [tag, 0x81, length] : [tag, 0x82, length >> 8, length];
  return Buffer.concat([Uint8Array.from(head), body]);
}
const sequence = (...parts: readonly Uint8Array[]): Uint8Array => der(0x30, ...parts);
const hex = (text: string): Uint8Array => Uint8Array.fromHex(text);
const ascii = (text: string): Uint8Array => Buffer.from(text, "latin1");

const ED25519 = sequence(hex("06032b6570"));
const NAME = sequence(der(0x31, sequence(hex("0603550403"), der(0x0c, ascii("napster")))));
// RFC 5280, 4.1.2.5: no end. Clocks may be wrong by years, and the dates are not consulted.
const VALIDITY = sequence(der(0x17, ascii("250101000000Z")), der(0x18, ascii("99991231235959Z")));
const VERSION_3 = der(0xa0, hex("020102"));

/** A certificate that the key signs for itself (RFC 5280, RFC 8410). */
function certify(secret: KeyObject, spki: Uint8Array): string {
  const serial = randomBytes(8);
  serial[0] = ((serial[0] as number) & 0x7f) | 1; // positive, and without leading zeros
  const signed = sequence(VERSION_3, der(2, serial), ED25519, NAME, VALIDITY, NAME, spki);
  const certificate = sequence(signed, ED25519, der(3, hex("00"), sign(null, signed, secret)));
  const lines =
    Buffer.from(certificate)
      .toString("base64")
      .match(/.{1,64}/g) ?? [];
  return ["-----BEGIN CERTIFICATE-----", ...lines, "-----END CERTIFICATE-----", ""].join("\n");
}
