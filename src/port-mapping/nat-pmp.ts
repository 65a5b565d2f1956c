// The two datagrams of NAT-PMP (RFC 6886) by which a router is asked to lead a TCP port here.
// Invariant: bytes that are not exactly an answer to that question are none.
// Never: sends anything.

export const NAT_PMP_PORT = 5351;

const MAP_TCP = 2;
const IS_ANSWER = 128;
const MAPPED_BYTES = 16;

export type PmpMapped = {
  /** The port at the router. */
  readonly port: number;
  readonly seconds: number;
};

/** Asks that `port` of the router, or another one, leads to `to` here for so many seconds; 0 ends that. */
export function encodeMap(to: number, port: number, seconds: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(12));
  view.setUint8(1, MAP_TCP);
  view.setUint16(4, to);
  view.setUint16(6, port);
  view.setUint32(8, seconds);
  return new Uint8Array(view.buffer);
}

/** What the router answered about our port `to`; "refused" where it will not. Undefined for anything else. */
export function decodeMapped(bytes: Uint8Array, to: number): PmpMapped | "refused" | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 4 || view.getUint8(0) !== 0 || view.getUint8(1) !== (MAP_TCP | IS_ANSWER)) return undefined;
  if (view.getUint16(2) !== 0) return "refused";
  if (bytes.length !== MAPPED_BYTES || view.getUint16(8) !== to) return undefined;
  const port = view.getUint16(10);
  const seconds = view.getUint32(12);
  return port > 0 && seconds > 0 ? { port, seconds } : undefined;
}
