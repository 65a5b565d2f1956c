// The limits of a server, each as one row: its flag, help and check, its default, and the documents are made from it.
// Invariant: what is not given is the row's default; a limit of rate or size is a positive number.
// Never: read by a peer; what both sides of the wire agree on does not move.

import {
  IDLE_SECONDS_MAX,
  JOIN_NAMES_MAX,
  JOIN_PAYLOAD_BYTES_MAX,
  PING_SECONDS,
  UNJOINED_SECONDS_MAX,
} from "./limits.ts";

/** No limit that a flag moves goes further: beyond it a number is a slip of the finger. */
export const COUNT_MAX = 1_000_000;
export const SECONDS_MAX = 3600;

const MIB = 1024 * 1024;

export type ServerLimit = {
  /** Without it the operator cannot move the limit. */
  readonly flag?: string;
  readonly key: string;
  readonly usual: number;
  readonly least: number;
  readonly most: number;
  /** What the flag takes, and its help before the default, both in Portuguese. */
  readonly takes?: "N" | "SEGUNDOS" | "BYTES" | "MIB";
  readonly help?: string;
  /** For the documents. */
  readonly reason: string;
};

const COUNT = { takes: "N", least: 1, most: COUNT_MAX } as const;

/** In the order of --help. */
export const SERVER_LIMITS = [
  {
    flag: "max-peers",
    key: "peers",
    usual: 100_000,
    ...COUNT,
    help: "peers na rede",
    reason: "peers that are in at once; the system's descriptors end sooner on most machines",
  },
  {
    flag: "max-connections",
    key: "connections",
    usual: 100_000,
    ...COUNT,
    help: "conexões ao todo",
    reason: "connections in all; never more than `LimitNOFILE` bears, less what is kept back (below)",
  },
  {
    flag: "max-connections-per-address",
    key: "connectionsPerAddress",
    usual: 32_768,
    ...COUNT,
    help: "de um IP",
    reason: "of one address: about as many ports as it has to dial from; at most half of what the machine bears",
  },
  {
    flag: "max-unjoined",
    key: "unjoined",
    usual: 8192,
    ...COUNT,
    help: "conexões sem JOIN",
    reason: "connections that have not joined: room for a class, and for its return",
  },
  {
    flag: "max-unjoined-per-address",
    key: "unjoinedPerAddress",
    usual: 4096,
    ...COUNT,
    help: "de um IP",
    reason: "the same of one address: what a crowd behind one address meets first when it returns",
  },
  {
    flag: "join-timeout",
    key: "unjoinedSeconds",
    usual: UNJOINED_SECONDS_MAX,
    least: 3,
    most: SECONDS_MAX,
    takes: "SEGUNDOS",
    help: "espera por um JOIN",
    reason: "seconds for a JOIN; a payload that keeps coming is waited for anyhow",
  },
  {
    flag: "idle-timeout",
    key: "idleSeconds",
    usual: IDLE_SECONDS_MAX,
    least: PING_SECONDS + 5,
    most: SECONDS_MAX,
    takes: "SEGUNDOS",
    help: "silêncio que tira um peer da rede",
    reason: `seconds of silence; a peer says PING each ${PING_SECONDS}, and must not be taken for gone when that is on time`,
  },
  {
    flag: "max-names",
    key: "names",
    usual: JOIN_NAMES_MAX,
    ...COUNT,
    help: "arquivos de um peer",
    reason: "names in one JOIN, and of one peer in all",
  },
  {
    flag: "max-join-bytes",
    key: "joinBytes",
    usual: JOIN_PAYLOAD_BYTES_MAX,
    least: 1024,
    most: JOIN_PAYLOAD_BYTES_MAX,
    takes: "BYTES",
    help: "lista de arquivos de um JOIN",
    reason: "bytes of one JOIN's payload",
  },
  {
    flag: "max-catalog",
    key: "catalogMebibytes",
    usual: 1024,
    ...COUNT,
    takes: "MIB",
    help: "memória das listas",
    reason: "MiB that the catalog may hold of all peers: names in full, and 120 to 160 bytes an entry",
  },
  {
    flag: "max-catalog-per-address",
    key: "catalogMebibytesPerAddress",
    usual: 256,
    ...COUNT,
    takes: "MIB",
    help: "de um IP",
    reason: "the same of the peers at one address",
  },
  {
    flag: "max-searches",
    key: "searchesPerSecond",
    usual: 50_000,
    ...COUNT,
    help: "SEARCH por segundo e conexão",
    reason:
      "SEARCH, SOURCES and WISH of one connection in a second: a twentieth of what a core answers; more wait unread, and one second's worth may come at once",
  },
  {
    flag: "max-finds",
    key: "findsPerSecond",
    usual: 20,
    ...COUNT,
    help: "FIND por segundo e conexão",
    reason: "the same for FIND, of which each may cost milliseconds",
  },
  {
    key: "wishes",
    usual: 50_000,
    least: 1,
    most: 50_000,
    reason: "names that peers wish for, in all",
  },
  {
    key: "wishesPerAddress",
    usual: 12_500,
    least: 1,
    most: 12_500,
    reason: "the same of one address",
  },
  {
    key: "wishesPerConnection",
    usual: 1000,
    least: 1,
    most: 1000,
    reason: "the same of one connection",
  },
  {
    key: "joinBytesHeld",
    usual: 256 * MIB,
    least: 1,
    most: 256 * MIB,
    reason: "payloads of JOINs that are not answered yet, in bytes; beyond it the largest is refused",
  },
  {
    key: "joinBytesHeldPerAddress",
    usual: 128 * MIB,
    least: 1,
    most: 128 * MIB,
    reason: "the same of one address",
  },
] as const satisfies readonly ServerLimit[];

type Row = (typeof SERVER_LIMITS)[number];
export type Limits = Readonly<Record<Row["key"], number>>;
/** Rows that the operator can move. */
export type FlaggedLimit = Extract<Row, { flag: string }>;
export const FLAGGED_LIMITS = SERVER_LIMITS.filter((row): row is FlaggedLimit => "flag" in row);

export const LIMITS = Object.fromEntries(SERVER_LIMITS.map(({ key, usual }) => [key, usual])) as Limits;

/**
 * The limits of a server on a machine that bears `connections` of them: those that its operator gave, and the usual
 * ones for the rest. Unless the operator says otherwise one address has half of the room at most, and those of it
 * that have not joined a quarter.
 */
export function limitsFor(given: Partial<Limits>, connections: number): Limits {
  const room = Math.min(given.connections ?? LIMITS.connections, connections);
  const fitting = (usual: number, part: number) => Math.max(1, Math.min(usual, Math.floor(room * part)));
  return {
    ...LIMITS,
    connectionsPerAddress: fitting(LIMITS.connectionsPerAddress, 1 / 2),
    unjoined: fitting(LIMITS.unjoined, 1 / 2),
    unjoinedPerAddress: fitting(LIMITS.unjoinedPerAddress, 1 / 4),
    ...given,
    connections: room,
  };
}
