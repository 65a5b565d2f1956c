// Which connections are encrypted, and the key that this program shows on them.
// Invariant: the address alone decides. Nothing that the other side says changes it, so that nothing can be stripped.
// Never: knows a socket.

import { isLoopback } from "../protocol/address.ts";
import { type Identity, identityOf, newKey } from "../shared/identity.ts";

/** "outside": all but 127.0.0.0/8. "never" is for a laboratory, "always" for tests on one machine. */
export type Encryption = "outside" | "never" | "always";

/** Plain data, so that it can be handed to a thread. */
export type Security = { readonly encryption: Encryption; readonly identity: Identity };

/** Whether connections to, and at, this IP of ours or another's are encrypted. */
export function isSecure({ encryption }: Pick<Security, "encryption">, ip: string): boolean {
  return encryption === "outside" ? !isLoopback(ip) : encryption === "always";
}

/** With a key for this run, of this thread's own. */
export const newSecurity = (encryption: Encryption = "outside"): Security => ({
  encryption,
  identity: identityOf(newKey()) as Identity,
});
