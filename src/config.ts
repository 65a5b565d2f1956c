// Flags and environment, read and checked once, into the options of one run.
// Invariant: a ServerConfig or a PeerConfig need not be checked again; every subcommand is
// one row of a command table, as every flag is one row of config/flags.ts.
// Never: prints, exits, touches the disk or asks anything.

import {
  type Asked,
  type Commands,
  type Flags,
  FOUND_DEFAULT,
  readArgs,
  SERVER_PORT,
  usageOf,
  WAIT_SECONDS_DEFAULT,
} from "./config/flags.ts";
import { type Endpoint, type InviteTerms, isUsage, readServer, SERVER_VARIABLE, type Usage } from "./config/readers.ts";
import type { Address, Range } from "./protocol/address.ts";
import { UPLOADS_DEFAULT } from "./protocol/limits.ts";
import { FLAGGED_LIMITS, type Limits } from "./protocol/server-limits.ts";

export { type Endpoint, isUsage, WAIT_SECONDS_DEFAULT };

/** SPEC 5.i: where the server is unless a flag or the environment says otherwise. */
export const SERVER_DEFAULT: Address = { ip: "127.0.0.1", port: SERVER_PORT };

const OF_A_PEER = [
  "host",
  "port",
  "server",
  "max-uploads",
  "min-rate",
  "reject-all",
  "encryption",
  "use-invite",
  "no-port-mapping",
] as const;
const RATES = ["max-upload-rate", "max-download-rate", "hash-rate"] as const;
const OF_A_DOWNLOAD = ["max-downloads", "only", "paranoid", "max-wait", "stall-timeout"] as const;
const MANY = ["match", "list", "resume"] as const;
const NAME = { takes: "NOME", help: "o nome do arquivo com extensão" } as const;

/** `menu` is what runs when no subcommand is named. */
const SERVER_COMMANDS: Commands<"menu"> = {
  menu: {
    help: "pergunta IP e porta (só o que não veio em opções) e atende",
    flags: [
      "host",
      "port",
      "catalog",
      "trust-addresses",
      "no-probe",
      "name",
      "no-discovery",
      ...FLAGGED_LIMITS.map(({ flag }) => flag),
      "metrics",
      "log",
      "quiet",
      "verbose",
      "members",
      "invite",
      "qr",
      "encryption",
    ],
  },
};

const PEER_COMMANDS: Commands<"menu" | "share" | "search" | "find" | "get" | "play" | "web" | "doctor" | "hash"> = {
  menu: {
    help: "menu com JOIN, SEARCH e DOWNLOAD",
    flags: ["dir", "web-port", "guests", "receive-only", ...OF_A_PEER, ...RATES, ...OF_A_DOWNLOAD],
  },
  share: {
    help: "entra na rede e compartilha até receber um sinal",
    flags: ["dir", "guests", "json", ...OF_A_PEER, ...RATES],
    needs: ["dir"],
  },
  search: { help: "diz quais peers têm o arquivo", operand: NAME, flags: ["json", ...OF_A_PEER] },
  find: {
    help: "diz quais arquivos têm todas as palavras no nome",
    operand: { takes: "PALAVRAS", help: "palavras, ou começos delas" },
    flags: ["limit", "json", ...OF_A_PEER],
  },
  get: {
    help: "procura, baixa, avisa o servidor e sai",
    operand: { takes: "NOME...", help: "um ou mais nomes de arquivo, cada um com extensão" },
    instead: MANY,
    flags: [
      "from",
      "dir",
      "words",
      ...MANY,
      "wait",
      "play",
      "json",
      "share",
      "no-share",
      ...OF_A_PEER,
      ...RATES,
      ...OF_A_DOWNLOAD,
    ],
    needs: ["dir"],
  },
  play: {
    help: "baixa e abre no player já enquanto chega; o mesmo que get com --play",
    operand: NAME,
    flags: ["from", "dir", "json", "share", "no-share", ...OF_A_PEER, ...RATES, ...OF_A_DOWNLOAD],
    needs: ["dir"],
  },
  web: {
    help: "entra na rede e abre uma página no navegador",
    flags: [
      "dir",
      "web-port",
      "guests",
      "receive-only",
      "no-open",
      "json",
      ...OF_A_PEER,
      ...RATES,
      "max-downloads",
      "paranoid",
      "stall-timeout",
    ],
  },
  doctor: {
    help: "examina servidor, porta, roteador, pasta e relógio, e diz o que falta",
    flags: ["dir", "host", "port", "server", "no-port-mapping", "json"],
  },
  hash: {
    help: "mostra a identidade do conteúdo de arquivos; não usa a rede",
    operand: { takes: "ARQUIVO...", help: "um ou mais arquivos, ou --verify e uma pasta" },
    instead: ["verify"],
    flags: ["verify", "json"],
  },
};

export type ServerConfig = {
  readonly host: string | undefined;
  readonly port: number | undefined;
  readonly quiet: boolean;
  readonly verbose: boolean;
  /** `redis://…` of an index that servers share; undefined for the server's own memory. */
  readonly catalog: string | undefined;
  /** Where /metrics is served. */
  readonly metrics: Address | undefined;
  readonly log: "lines" | "json";
  /** Connections from there may declare any address. */
  readonly trusted: readonly Range[];
  /** Whether a peer that joins is dialled back. */
  readonly probe: boolean;
  /** Whether peers of its networks that look for a server are answered, and by what name; undefined for the machine's. */
  readonly discovery: { readonly isOn: boolean; readonly name: string | undefined };
  /** Those that the operator moved. */
  readonly limits: Partial<Limits>;
  /** Shows the server's address as a QR code too. */
  readonly qr: boolean;
  /** A file of the IDs that may JOIN. */
  readonly members: string | undefined;
  /** An invitation of this run. */
  readonly invite: InviteTerms | undefined;
  readonly encryption: Encryption;
};

/** All connections outside of 127.0.0.0/8 are encrypted, or none. */
export type Encryption = "outside" | "never";

/** What needs no network: roots of files, or a folder against its record. */
export type HashConfig = { readonly command: "hash"; readonly json: boolean } & (
  | { readonly files: readonly string[]; readonly verify?: undefined }
  | { readonly verify: string }
);

type PeerOptions = {
  /** Undefined when not given: SERVER_DEFAULT, or one that is found in the network. */
  readonly server: Endpoint | undefined;
  /** Undefined when not given: the menu asks, a subcommand takes the IP that reaches the server, and port 0. */
  readonly host: string | undefined;
  readonly port: number | undefined;
  readonly json: boolean;
  /** `minUploadRate`: below it an upload loses its slot. Rates are in bytes per second, undefined for no limit. */
  readonly uploads: {
    readonly maxUploads: number;
    readonly rejectAll: boolean;
    readonly minUploadRate: number | undefined;
    readonly maxUploadRate: number | undefined;
  };
  /** `stallSeconds`: without a byte a download leaves a source. `paranoid`: each is read again before it gets its name. */
  readonly downloads: {
    readonly stallSeconds: number | undefined;
    readonly maxDownloadRate: number | undefined;
    readonly paranoid: boolean;
    readonly maxDownloads: number | undefined;
  };
  /** Bytes per second that hashing reads of files that no download waits for. */
  readonly hashRate: number | undefined;
  /** Whether the router is asked for a port where others cannot connect. */
  readonly portMapping: boolean;
  /** The code of an invitation to the server. */
  readonly invite: string | undefined;
  /** JOIN shares nothing, neither the folder nor what is downloaded. */
  readonly receivesOnly: boolean;
  /** Keeps downloads to the chosen peer. */
  readonly only: boolean;
  /** How long a download waits in a queue without moving up; undefined when not given. */
  readonly maxWaitSeconds: number | undefined;
  /** The page's port; 0 for any free one. */
  readonly webPort: number;
  /** Opens the page for guests. */
  readonly guests: boolean;
  readonly encryption: Encryption;
};

export type GetOptions = {
  readonly command: "get";
  /** Files, or, `byWords`, words of their names. */
  readonly names: readonly string[];
  readonly byWords: boolean;
  /** What stands in for names: a pattern, a file of names, what the folder has begun. */
  readonly match: string | undefined;
  readonly list: string | undefined;
  readonly resume: boolean;
  readonly keepsTrying: boolean;
  readonly folder: string;
  readonly from: Endpoint | undefined;
  readonly sharing: "folder" | "downloads" | "nothing";
  /** The first of them is opened in a player. */
  readonly isPlayed: boolean;
};

export type PeerConfig = PeerOptions &
  (
    | { readonly command: "menu"; readonly folder: string | undefined }
    | { readonly command: "share"; readonly folder: string }
    /** Without a folder the one that JOIN offers. `open`: in the person's browser. */
    | { readonly command: "web"; readonly folder: string | undefined; readonly open: boolean }
    | { readonly command: "doctor"; readonly folder: string | undefined }
    | { readonly command: "search"; readonly name: string }
    | { readonly command: "find"; readonly words: string; readonly limit: number }
    | GetOptions
  );

/** `args` are the words after the program's name. */
export function parseServer(args: readonly string[]): ServerConfig | Asked | Usage {
  const read = readArgs(args, SERVER_COMMANDS);
  if ("usage" in read || "asked" in read) return read;
  const { flags } = read;
  const { host, port, quiet = false, verbose = false, catalog, metrics, log = "lines" } = flags;
  const limits: Partial<Limits> = Object.fromEntries(
    FLAGGED_LIMITS.flatMap(({ flag, key }) => (flags[flag] === undefined ? [] : [[key, flags[flag]]])),
  );
  const trusted = flags["trust-addresses"] ?? [];
  if (flags.members !== undefined && flags.encryption === "off")
    return { usage: "--members pede a cifra: sem ela não há IDs" };
  if (flags.invite !== undefined && flags.members === undefined)
    return { usage: "--invite pede --members, onde ficam os IDs que ele admite" };
  const discovery = { isOn: !flags["no-discovery"], name: flags.name };
  const seen = {
    catalog,
    metrics,
    log,
    quiet,
    verbose,
    qr: flags.qr ?? false,
    members: flags.members,
    invite: flags.invite,
  };
  return {
    host,
    port,
    ...seen,
    trusted,
    probe: !flags["no-probe"],
    discovery,
    limits,
    encryption: encryptionOf(flags),
  };
}

const encryptionOf = (flags: Flags): Encryption => (flags.encryption === "off" ? "never" : "outside");

/** `args` are the words after the program's name; `environment` may name the server. */
export function parsePeer(
  args: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
): PeerConfig | HashConfig | Asked | Usage {
  const read = readArgs(args, PEER_COMMANDS);
  if ("usage" in read || "asked" in read) return read;
  const { flags, words } = read;
  const json = flags.json ?? false;
  if (read.command === "hash") {
    return { command: "hash", json, ...(flags.verify === undefined ? { files: words } : { verify: flags.verify }) };
  }
  const variable = environment[SERVER_VARIABLE];
  const server = flags.server ?? (variable ? readServer(SERVER_PORT)(variable) : undefined);
  if (isUsage(server)) return { usage: `${SERVER_VARIABLE} ${server.usage}` };
  const options: PeerOptions = {
    server,
    host: flags.host,
    port: flags.port,
    json,
    uploads: {
      maxUploads: flags["max-uploads"] ?? UPLOADS_DEFAULT,
      rejectAll: flags["reject-all"] ?? false,
      minUploadRate: flags["min-rate"],
      maxUploadRate: flags["max-upload-rate"],
    },
    downloads: {
      stallSeconds: flags["stall-timeout"],
      maxDownloadRate: flags["max-download-rate"],
      paranoid: flags.paranoid ?? false,
      maxDownloads: flags["max-downloads"],
    },
    hashRate: flags["hash-rate"],
    portMapping: !flags["no-port-mapping"],
    only: flags.only ?? false,
    maxWaitSeconds: flags["max-wait"],
    webPort: flags["web-port"] ?? 0,
    guests: flags.guests ?? false,
    receivesOnly: flags["receive-only"] ?? false,
    invite: flags["use-invite"],
    encryption: encryptionOf(flags),
  };
  if (options.receivesOnly && options.guests) return { usage: "--receive-only não envia nada, nem a --guests" };
  // A name without quotes comes as several words.
  const name = words.join(" ");
  const folder = flags.dir ?? "";
  switch (read.command) {
    case "menu":
      return { ...options, command: "menu", folder: flags.dir };
    case "share":
      return { ...options, command: "share", folder };
    case "web":
      return { ...options, command: "web", folder: flags.dir, open: !flags["no-open"] };
    case "doctor":
      return { ...options, command: "doctor", folder: flags.dir };
    case "search":
      return { ...options, command: "search", name };
    case "find":
      return { ...options, command: "find", words: name, limit: flags.limit ?? FOUND_DEFAULT };
    case "play":
    case "get": {
      const get = getOf({ command: read.command, flags, words });
      return isUsage(get) ? get : { ...options, ...get };
    }
  }
}

type Given = { readonly command: "get" | "play"; readonly flags: Flags; readonly words: readonly string[] };

/** What is peculiar to `get`, and to `play`, which is one. */
function getOf({ command, flags, words }: Given): GetOptions | Usage {
  if (flags.share && flags["no-share"]) return { usage: `${command} pede --share ou --no-share, não os dois` };
  const byWords = flags.words ?? false;
  if (byWords && words.length === 0) return { usage: "get --words pede palavras do nome" };
  return {
    command: "get",
    names: command === "play" ? [words.join(" ")] : words,
    byWords,
    match: flags.match,
    list: flags.list,
    resume: flags.resume ?? false,
    keepsTrying: flags.wait ?? false,
    folder: flags.dir ?? "",
    from: flags.from,
    sharing: flags.share ? "folder" : flags["no-share"] ? "nothing" : "downloads",
    isPlayed: command === "play" || (flags.play ?? false),
  };
}

/** The part of --help that follows from the tables. */
export const serverUsage = (): string => usageOf("napster-server", SERVER_COMMANDS);
export const peerUsage = (): string => usageOf("napster-peer", PEER_COMMANDS);
