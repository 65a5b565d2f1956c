// Who is at the other end: the key of a TLS handshake against the one that is expected, and what handshakes may cost us.
// Invariant: a Verified socket is made here alone, once the address allows plain bytes or a key was shown and compared.
// Never: trusts `authorized` or the handshake's own verdict: certificates are self-signed, and only their key counts.

import type { X509Certificate } from "node:crypto";
import { type Address, formatAddress } from "../protocol/address.ts";
import { type Fault, fault } from "../protocol/fault.ts";
import type { Id } from "../protocol/id.ts";
import {
  HANDSHAKE_SECONDS_MAX,
  HANDSHAKES_MAX,
  HANDSHAKES_PER_ADDRESS_MAX,
  HANDSHAKES_PER_SECOND_MAX,
} from "../protocol/limits.ts";
import type { Clock } from "../shared/clock.ts";
import { createConnectionLimit } from "../shared/connection-limit.ts";
import { idOfCertificate } from "../shared/identity.ts";

declare const verified: unique symbol;

/** A socket whose bytes may be read and written. `id`: of the key that the other side has proved; undefined when plain. */
export type Verified<S> = { readonly socket: S; readonly id: Id | undefined; readonly [verified]: true };

/** What of a TLS socket the verdict needs; Bun's, and node:tls's. */
type Shown = { getPeerX509Certificate(): X509Certificate | undefined };

/** For an address that is not encrypted. */
export const plain = <S>(socket: S): Verified<S> => ({ socket, id: undefined }) as Verified<S>;

/**
 * The handshake at `socket` is over, in TLS version `version`. NOT_ENCRYPTED where it failed, or showed no key of ours:
 * a web server, a network that asks for a login first.
 * WRONG_ID where the key is not the one that `to`, the dialled address, is pinned to.
 */
export function verify<S extends Shown>(socket: S, version: string | null, to: Address): Verified<S> | Fault {
  const certificate = version === "TLSv1.3" ? socket.getPeerX509Certificate() : undefined;
  const id = certificate && idOfCertificate(certificate);
  if (id === undefined) return fault("NOT_ENCRYPTED", "network", formatAddress(to));
  if (to.id !== undefined && to.id !== id) return fault("WRONG_ID", "network", `${formatAddress(to)} ${id}`);
  return { socket, id } as Verified<S>;
}

export type Handshakes = {
  /** One more from `ip` begins, and `expire` is called if it takes too long. Its end; undefined when it is one too many. */
  begin(ip: string, expire: () => void): (() => void) | undefined;
};

/** Of one thread. What is turned away costs no cryptography. */
export function createHandshakes({ now, after }: Clock): Handshakes {
  const open = createConnectionLimit(HANDSHAKES_MAX, HANDSHAKES_PER_ADDRESS_MAX);
  const begun = new Map<string, number>(); // in this second, by address
  let second = now();
  return {
    begin(ip, expire) {
      if (now() - second >= 1000) {
        second = now();
        begun.clear();
      }
      const count = begun.get(ip) ?? 0;
      if (count >= HANDSHAKES_PER_SECOND_MAX || !open.admit(ip)) return undefined;
      begun.set(ip, count + 1);
      let isOver = false;
      const end = (): void => {
        if (isOver) return;
        isOver = true;
        cancel();
        open.release(ip);
      };
      const cancel = after(HANDSHAKE_SECONDS_MAX * 1000, expire);
      return end;
    },
  };
}
