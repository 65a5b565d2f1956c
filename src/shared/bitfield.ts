// Sets of pieces as bits, one each, in the order of BEP 3: piece i is bit 7 - i % 8 of byte i / 8.
// Invariant: a bit beyond the last byte counts as not set.
// Never: grows.

/** The bytes that `pieces` bits take. */
export const bytesOfBitfield = (pieces: number): number => Math.ceil(pieces / 8);

/** Room for `pieces` bits, none set. */
export function createBitfield(pieces: number): Uint8Array {
  return new Uint8Array(bytesOfBitfield(pieces));
}

export function hasBit(bits: Uint8Array, index: number): boolean {
  return ((bits[index >> 3] ?? 0) & (0x80 >> (index & 7))) !== 0;
}

export function setBit(bits: Uint8Array, index: number): void {
  bits[index >> 3] = (bits[index >> 3] ?? 0) | (0x80 >> (index & 7));
}

export function clearBit(bits: Uint8Array, index: number): void {
  bits[index >> 3] = (bits[index >> 3] ?? 0) & ~(0x80 >> (index & 7));
}
