// The limits of a server that its operator may move, as one record.
// Invariant: what is not given is as limits.ts says; a limit of rate or size is a positive number.
// Never: read by a peer; what both sides of the wire agree on does not move.

import {
  CATALOG_MEBIBYTES_MAX,
  CATALOG_MEBIBYTES_PER_ADDRESS_MAX,
  CONNECTIONS_MAX,
  CONNECTIONS_PER_ADDRESS_MAX,
  FINDS_PER_SECOND_MAX,
  IDLE_SECONDS_MAX,
  JOIN_BYTES_HELD_MAX,
  JOIN_BYTES_HELD_PER_ADDRESS_MAX,
  JOIN_NAMES_MAX,
  JOIN_PAYLOAD_BYTES_MAX,
  PEERS_MAX,
  SEARCHES_PER_SECOND_MAX,
  UNJOINED_MAX,
  UNJOINED_PER_ADDRESS_MAX,
  UNJOINED_SECONDS_MAX,
} from "./limits.ts";

export type Limits = {
  readonly connections: number;
  readonly connectionsPerAddress: number;
  /** Connections that have not joined. */
  readonly strangers: number;
  readonly strangersPerAddress: number;
  readonly peers: number;
  readonly unjoinedSeconds: number;
  readonly idleSeconds: number;
  /** Names in one JOIN, and of one peer in all. */
  readonly names: number;
  /** Of one JOIN's payload. */
  readonly joinBytes: number;
  readonly searchesPerSecond: number;
  readonly findsPerSecond: number;
  /** What the catalog may hold of all, and of one address, in MiB. */
  readonly catalogMebibytes: number;
  readonly catalogMebibytesPerAddress: number;
  readonly joinBytesHeld: number;
  readonly joinBytesHeldPerAddress: number;
};

export const LIMITS: Limits = {
  connections: CONNECTIONS_MAX,
  connectionsPerAddress: CONNECTIONS_PER_ADDRESS_MAX,
  strangers: UNJOINED_MAX,
  strangersPerAddress: UNJOINED_PER_ADDRESS_MAX,
  peers: PEERS_MAX,
  unjoinedSeconds: UNJOINED_SECONDS_MAX,
  idleSeconds: IDLE_SECONDS_MAX,
  names: JOIN_NAMES_MAX,
  joinBytes: JOIN_PAYLOAD_BYTES_MAX,
  searchesPerSecond: SEARCHES_PER_SECOND_MAX,
  findsPerSecond: FINDS_PER_SECOND_MAX,
  catalogMebibytes: CATALOG_MEBIBYTES_MAX,
  catalogMebibytesPerAddress: CATALOG_MEBIBYTES_PER_ADDRESS_MAX,
  joinBytesHeld: JOIN_BYTES_HELD_MAX,
  joinBytesHeldPerAddress: JOIN_BYTES_HELD_PER_ADDRESS_MAX,
};

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
    strangers: fitting(LIMITS.strangers, 1 / 2),
    strangersPerAddress: fitting(LIMITS.strangersPerAddress, 1 / 4),
    ...given,
    connections: room,
  };
}
