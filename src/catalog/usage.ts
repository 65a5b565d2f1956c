// How many bytes something takes, in all and of each IP: the catalog's entries, the payloads of JOINs under way.
// Invariant: the total is the sum over all IPs, and an IP that takes nothing is not kept.
// Never: refuses anything; the owner of a budget compares.

export type Usage = {
  /** `bytes` more are taken at this IP; fewer when negative. */
  add(ip: string, bytes: number): void;
  at(ip: string): number;
  readonly total: number;
};

export function createUsage(): Usage {
  const ofIp = new Map<string, number>();
  let total = 0;
  return {
    add(ip, bytes) {
      total += bytes;
      const atIp = (ofIp.get(ip) ?? 0) + bytes;
      if (atIp === 0) ofIp.delete(ip);
      else ofIp.set(ip, atIp);
    },
    at: (ip) => ofIp.get(ip) ?? 0,
    get total() {
      return total;
    },
  };
}
