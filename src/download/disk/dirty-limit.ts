// How far a download may run ahead of its disk: what the disk has lately synced in about a second.
// Invariant: between the two bounds, whatever was measured.
// Never: counts what is written or synced; it is told.

const MIB = 1024 * 1024;
// What a power cut would fetch twice, and what the disk is still busy with when the last byte comes. With less, lanes
// stood still during each sync, and a fast disk half of the time.
const DIRTY_BYTES_MIN = 48 * MIB;
const DIRTY_BYTES_MAX = 512 * MIB;

export type DirtyLimit = {
  /** So many bytes may be written that no sync has answered for. */
  readonly bytesMost: number;
  /** A sync of so many bytes took `ms` milliseconds. */
  measure(bytes: number, ms: number): void;
};

export function createDirtyLimit(): DirtyLimit {
  let bytesMost = DIRTY_BYTES_MIN;
  return {
    get bytesMost() {
      return bytesMost;
    },
    measure(bytes, ms) {
      const perSecond = bytes / (Math.max(1, ms) / 1000);
      bytesMost = Math.min(Math.max(perSecond, DIRTY_BYTES_MIN), DIRTY_BYTES_MAX);
    },
  };
}
