// What others say is damaged of our files, looked at piece by piece.
// Invariant: only a piece that was read again and is not the one that was hashed counts.
// Never: reads more than one piece in CHECK_SECONDS, or keeps more than CHECKS_MAX to read.

import type { Clock } from "../shared/clock.ts";

/** A check costs the reading of a piece, 4 MiB at most: about what an upload of 1 MB/s costs. */
export const CHECK_SECONDS = 5;

/** Checks that wait, in all and of one address: one that reports without end does not stand in the way of others. */
export const CHECKS_MAX = 64;
export const CHECKS_PER_ADDRESS_MAX = 4;

export type Damage = {
  /** `ip` says that piece `index` of `name` came wrong from here. */
  hear(name: string, index: number, ip: string): void;
  close(): void;
};

export type DamageOptions = {
  readonly clock: Clock;
  /** Whether that piece is not as it was hashed; false also where that cannot be told. */
  readonly isDamaged: (name: string, index: number) => Promise<boolean>;
  readonly onDamaged: (name: string, index: number) => void;
};

export function createDamage({ clock, isDamaged, onDamaged }: DamageOptions): Damage {
  const waiting = new Map<string, { readonly name: string; readonly index: number; readonly ip: string }>();
  let cancel: (() => void) | undefined;
  let checkedAt = Number.NEGATIVE_INFINITY;

  async function check(): Promise<void> {
    const [next] = waiting;
    if (next === undefined) {
      cancel = undefined;
      return;
    }
    const [key, { name, index }] = next;
    waiting.delete(key);
    checkedAt = clock.now();
    if (await isDamaged(name, index)) onDamaged(name, index);
    cancel = clock.after(CHECK_SECONDS * 1000, check);
  }

  return {
    hear(name, index, ip) {
      const ofAddress = [...waiting.values()].filter((one) => one.ip === ip).length;
      if (waiting.size >= CHECKS_MAX || ofAddress >= CHECKS_PER_ADDRESS_MAX) return;
      waiting.set(`${index} ${name}`, { name, index, ip });
      cancel ??= clock.after(Math.max(0, checkedAt + CHECK_SECONDS * 1000 - clock.now()), check);
    },
    close() {
      cancel?.();
      waiting.clear();
    },
  };
}
