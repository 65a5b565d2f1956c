// A failure as a value: what went wrong, whose fault it is, and whether trying again can help.
// Invariant: codes are stable; each that travels is in docs/PROTOCOL.md, each has a sentence in console/text/complaints.ts.
// Never: thrown. A bug throws; a fault is returned.

/** Codes that travel on the wire in ERROR and REJECT lines. */
export const WIRE_CODES = [
  "BAD_REQUEST", // the line or its payload does not follow the grammar
  "LINE_TOO_LONG", // above LINE_BYTES_MAX without a newline
  "PAYLOAD_TOO_LARGE", // announced payload above its limit
  "UNKNOWN_VERB",
  "UNSUPPORTED_VERSION",
  "BAD_STATE", // a verb that this state does not allow, e.g. GET before DOWNLOAD
  "NOT_MEMBER", // JOIN at a server that knows only some IDs, of another
  "NOT_JOINED", // SEARCH, UPDATE… before JOIN
  "BAD_NAME", // a name that protocol/names refuses
  "BAD_ADDRESS", // not an ip:port, or a port outside 1–65535
  "ADDRESS_MISMATCH", // JOIN declares an address that is not the sender's
  "ADDRESS_TAKEN", // JOIN declares the address of a peer that is alive
  "TOO_MANY", // a counted limit was reached
  "TIMEOUT", // the other side was silent past a deadline
  "NOT_SHARED", // DOWNLOAD of what this peer does not share
  "BUSY", // every upload slot is taken
  "REFUSED", // the person (or --reject-all) said no
  "CHANGED", // the shared file is no longer what was announced
  "BAD_RANGE", // GET outside the file
  "NOT_READY", // asked for what is still being computed
  "UNAVAILABLE", // this server does not do that
  "SHUTTING_DOWN",
  "INTERNAL",
] as const;

/** Codes that only this machine's person or program sees. */
export const LOCAL_CODES = [
  "USAGE",
  "SERVER_UNREACHABLE",
  "SEVERAL_SERVERS", // the network has more than one, and none was named
  "UNREACHABLE", // the server could not connect to us, so that it lists us nowhere
  "SERVER_GONE",
  "PEER_UNREACHABLE",
  "NOT_ENCRYPTED", // what answers there speaks no TLS 1.3, or shows no key
  "ENCRYPTION_NEEDED", // what answers our plain bytes there speaks TLS only
  "WRONG_ID", // another program than the one that is expected there
  "SERVER_KEY_CHANGED", // another key than the one that is pinned or remembered
  "KEY_UNUSABLE", // identity.key cannot be read, written or understood
  "PEER_GONE",
  "STALLED",
  "BAD_REPLY", // the other side broke the protocol
  "UNKNOWN_CODE", // it refused, with a code of a newer version
  "PORT_IN_USE",
  "HOST_UNKNOWN", // no machine has that name
  "HOST_UNAVAILABLE", // the IP is not one of this machine's
  "NO_DESCRIPTORS", // this machine, or this program's limit, has no more of them
  "PORT_DENIED", // the system forbids that port
  "FOLDER_MISSING",
  "FOLDER_DENIED",
  "WIDE_FOLDER", // a home folder or a drive's root is to be shared
  "NOT_SEARCHED", // DOWNLOAD before SEARCH
  "NO_SOURCE", // no peer has the file
  "FILE_EXISTS",
  "IN_USE", // another download of this file is at work
  "DISK_FULL",
  "DISK_ERROR",
  "FILE_MISSING",
  "CORRUPT", // bytes that do not match the root
  "PART_BLOCKED", // a link, a folder or a pipe where the .part or its journal would be
  "PART_DENIED", // the .part or its journal is another person's, who lets us not write
  "PART_LOST", // the .part was removed or replaced while it grew
  "PART_CHANGED", // another program goes on writing into the .part
  "OTHER_CONTENT", // a .part of this name belongs to another content
  "CANCELLED",
  "CLOCK_WRONG",
  "INDEX_UNREACHABLE", // the index that servers share does not answer
  "INDEX_DENIED", // it wants another password
  "INDEX_PARTIAL", // the server answers without the index that it shares with others
  "INDEX_UNUSABLE", // what answers there is not an index of ours
] as const;

export type WireCode = (typeof WIRE_CODES)[number];
export type FaultCode = WireCode | (typeof LOCAL_CODES)[number];
export type Whose = "ours" | "theirs" | "network" | "disk";

export type Fault = {
  readonly fault: FaultCode;
  readonly whose: Whose;
  /** Whether the same request may succeed later without anything being changed. */
  readonly retry: boolean;
  /** What exactly, in English, for logs and programs; never shown raw when it came from the wire. */
  readonly detail: string;
  /** What lies behind the code, where other code decides by it. */
  readonly cause?: "connection-refused" | "is-a-file" | "is-a-folder";
};

/** Makes a fault. `retry` is false unless said. */
export function fault(code: FaultCode, whose: Whose, detail = "", retry = false): Fault {
  return { fault: code, whose, retry, detail };
}

/** The limit in a fault that says `at most N names` or `at most N bytes`, as a server does of a JOIN. */
export function limitIn({ detail }: Fault): { readonly most: number; readonly of: "names" | "bytes" } | undefined {
  const [, digits, of] = /^at most (\d{1,15}) (names|bytes)$/.exec(detail) ?? [];
  return of === "names" || of === "bytes" ? { most: Number(digits), of } : undefined;
}

const ON_THE_WIRE: ReadonlySet<string> = new Set([...WIRE_CODES, "UNKNOWN_CODE"]);

/** What another program said with `final`: the same request will not succeed. */
export function isFinal(why: Fault): boolean {
  return why.whose === "theirs" && !why.retry && ON_THE_WIRE.has(why.fault);
}

/** Tells a fault from a result. */
export function isFault(value: unknown): value is Fault {
  return typeof value === "object" && value !== null && "fault" in value;
}
