// How much a class, a town and a country need: arithmetic from what was measured elsewhere, written as docs/SCALE.md has it.
// Invariant: every constant names the command that measured it; what is assumed stands apart.
// Never: measures anything itself, or opens a socket.
//
//   bun bench/scale.ts

/** Measured; see docs/OPERATIONS.md, bench/RESULTS-shared.md and docs/adr/0022. */
const MEASURED = {
  /** bun bench/load.ts idle: 19,000 peers with 50 names took 205 to 242 MB, sockets included. */
  bytesOfPeerWith50Names: 242e6 / 19_000,
  /** bun bench/catalog-table.ts, and the limit --max-catalog: 120 to 160 bytes an entry, and the name. */
  bytesOfEntry: 160 + 40,
  /** A TLS connection that is idle, above one in the clear (9.7 and 1.3 KiB). */
  bytesOfTls: 8.4 * 1024,
  emptyServer: 55e6,
  /** bun bench/load.ts shared: CPU of all processes for one SEARCH, one in flight. */
  searchCpuSeconds: 20e-6,
  /** bun bench/load.ts idle: 5 to 9 % of a core for 19,000 idle peers. */
  idleCpuOfPeer: 0.09 / 19_000,
  /** A mutual handshake in the server: 0.53 ms. */
  handshakeCpuSeconds: 0.53e-3,
  /** bun bench/load.ts limit: with 20,000 descriptors 15,904 were in. */
  peersOfServer: 15_904,
} as const;

/** Assumed of the people, not measured. */
const ASSUMED = {
  names: 50,
  searchesPerPeerHour: 30,
  answerBytes: 4700, // bun bench/load.ts idle: an answer's mean there
  joinsPerPeerHour: 1,
  bytesOfName: 40,
  pingBytes: 2 * (5 + 66), // each way, with TCP/IP, every 10 s
  utilisation: 0.5, // of a machine's core
  /** Euros a month: a machine of two cores, each GB of its memory, each TB that leaves it. */
  machine: 10,
  gigabyte: 2.5,
  terabyte: 1,
};

/** `perServer` above what was measured is what a raised LimitNOFILE and --max-peers allow. */
const STEPS = [
  { name: "class", peers: 30, perServer: MEASURED.peersOfServer },
  { name: "town", peers: 10_000, perServer: MEASURED.peersOfServer },
  { name: "country", peers: 1_000_000, perServer: MEASURED.peersOfServer },
  { name: "on large servers", peers: 1_000_000, perServer: 100_000 },
] as const;

function needs({ peers, perServer }: (typeof STEPS)[number]) {
  const servers = Math.ceil(peers / perServer);
  const entries = peers * ASSUMED.names;
  const here = peers / servers;
  const own = here * (MEASURED.bytesOfPeerWith50Names + MEASURED.bytesOfTls);
  // With a shared index each server holds a replica of the others' entries (ADR 0022).
  const others = (entries - here * ASSUMED.names) * MEASURED.bytesOfEntry;
  const searches = (peers * ASSUMED.searchesPerPeerHour) / 3600;
  const joins = (peers * ASSUMED.joinsPerPeerHour) / 3600;
  const cores =
    searches * MEASURED.searchCpuSeconds + peers * MEASURED.idleCpuOfPeer + joins * MEASURED.handshakeCpuSeconds;
  const entryOnWire = ASSUMED.bytesOfName + 2 * 32;
  const peerBits =
    8 * (searches * ASSUMED.answerBytes + (peers / 10) * ASSUMED.pingBytes + joins * ASSUMED.names * entryOnWire);
  // A JOIN's entries are written once and read by each other server.
  const redisBits = servers === 1 ? 0 : 8 * joins * ASSUMED.names * entryOnWire * servers;
  const isShared = servers > 1;
  const megabytes = (MEASURED.emptyServer + own + others) / 1e6;
  const redisMegabytes = isShared ? (entries * (entryOnWire + 60)) / 1e6 : 0;
  const machines = servers + Number(isShared);
  const gigabytes = (megabytes * servers + redisMegabytes) / 1000;
  const terabytes = ((peerBits / 8) * 2.6e6) / 1e12;
  return {
    servers,
    entries,
    searches,
    megabytes,
    cores: cores / ASSUMED.utilisation,
    megabits: peerBits / servers / 1e6,
    redisMegabytes,
    redisMegabits: redisBits / 1e6,
    restart: here * MEASURED.handshakeCpuSeconds,
    euros: machines * ASSUMED.machine + gigabytes * ASSUMED.gigabyte + terabytes * ASSUMED.terabyte,
  };
}

const round = (value: number): string =>
  value === 0 ? "0" : value < 10 ? String(Number(value.toPrecision(2))) : Math.round(value).toLocaleString("en-US");
type Needs = ReturnType<typeof needs>;
const ROWS: readonly (readonly [string, keyof Needs])[] = [
  ["servers", "servers"],
  ["files announced", "entries"],
  ["SEARCH a second, of all", "searches"],
  ["memory of one server, MB", "megabytes"],
  ["cores, of all, half busy", "cores"],
  ["traffic of one server, Mbit/s", "megabits"],
  ["Redis, MB", "redisMegabytes"],
  ["traffic of Redis, Mbit/s", "redisMegabits"],
  ["handshakes after a restart, s", "restart"],
  ["euros a month", "euros"],
];

/** The table of docs/SCALE.md. */
export function scaleTable(): string {
  const all = STEPS.map(needs);
  const line = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;
  const head = ["", ...STEPS.map(({ name, peers }) => `${name}: ${peers.toLocaleString("en-US")}`)];
  const rows = ROWS.map(([what, key]) => line([what, ...all.map((one) => round(one[key]))]));
  return [line(head), line(head.map(() => "---")), ...rows].join("\n");
}

if (import.meta.main) console.log(scaleTable());
