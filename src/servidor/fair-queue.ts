// Work that only so many may have under way at once, in all and of one address; the rest wait, address by address in turn.
// Invariant: never more than `most` run, nor more than `mostOfAddress` of one; who waits longest at its address goes first.
// Never: ends what has begun.

export type FairQueue = {
  /**
   * Calls `start` at once or when it is this address' turn; the turn ends when what it returns does. The returned
   * function gives up waiting, and says whether that was in time.
   */
  take(ip: string, start: () => Promise<unknown>): () => boolean;
  /** Whether work of this address waits. */
  waits(ip: string): boolean;
};

type Place = { running: number; readonly waiting: Set<() => void> };

export function createFairQueue(most: number, mostOfAddress: number): FairQueue {
  const places = new Map<string, Place>(); // by IP; those whose turn it is come first
  let running = 0;

  function startNext(): void {
    for (const [ip, place] of places) {
      if (running >= most) return;
      const [begin] = place.waiting;
      if (begin === undefined || place.running >= mostOfAddress) continue;
      places.delete(ip);
      places.set(ip, place);
      place.waiting.delete(begin);
      begin();
    }
  }

  return {
    take(ip, start) {
      const place = places.get(ip) ?? { running: 0, waiting: new Set() };
      places.set(ip, place);
      const tidy = (): void => {
        if (place.running === 0 && place.waiting.size === 0) places.delete(ip);
      };
      const begin = (): void => {
        running++;
        place.running++;
        void start().then(() => {
          running--;
          place.running--;
          tidy();
          startNext();
        });
      };
      if (running < most && place.running < mostOfAddress) begin();
      else place.waiting.add(begin);
      return () => {
        const inTime = place.waiting.delete(begin);
        if (inTime) tidy();
        return inTime;
      };
    },
    waits: (ip) => (places.get(ip)?.waiting.size ?? 0) > 0,
  };
}
