// How many connections are open, in all and from each address, and whether one more is too many.
// Invariant: what was admitted and not yet released is counted, and nothing else.
// Never: closes anything; its owner does.

export type ConnectionLimit = {
  /**
   * Counts one more connection from `ip`; false when it is one too many, and then it is not counted. `brings` says
   * that many others come through that address, so that only the whole counts.
   */
  admit(ip: string, brings?: boolean): boolean;
  /** One that was admitted is gone. */
  release(ip: string): void;
  readonly size: number;
};

export function createConnectionLimit(most: number, mostOfAddress: number): ConnectionLimit {
  const ofAddress = new Map<string, number>();
  let size = 0;
  return {
    admit(ip, brings = false) {
      const present = ofAddress.get(ip) ?? 0;
      if (size >= most || (present >= mostOfAddress && !brings)) return false;
      ofAddress.set(ip, present + 1);
      size++;
      return true;
    },
    release(ip) {
      const left = (ofAddress.get(ip) ?? 1) - 1;
      if (left > 0) ofAddress.set(ip, left);
      else ofAddress.delete(ip);
      size--;
    },
    get size() {
      return size;
    },
  };
}
