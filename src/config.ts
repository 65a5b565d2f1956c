// Flags and environment, read and checked once, into the options of one run.
// Invariant: whoever holds a ServerConfig or a PeerConfig need not check it again; every subcommand is
// one row of a command table, as every flag is one row of config/flags.ts.
// Never: prints, exits, touches the disk or asks anything.

import {
  type Asked,
  type Commands,
  isUsage,
  readAddress,
  readArgs,
  SERVER_VARIABLE,
  type Usage,
  usageOf,
} from "./config/flags.ts";
import type { Address } from "./protocol/address.ts";
import { UPLOADS_DEFAULT } from "./protocol/limits.ts";

export { isUsage };

/** SPEC 5.i: where the server is unless a flag or the environment says otherwise. */
export const SERVER_DEFAULT: Address = { ip: "127.0.0.1", port: 1099 };

const OF_A_PEER = ["server", "max-uploads", "reject-all"] as const;

/** `menu` is what runs when no subcommand is named. */
const SERVER_COMMANDS: Commands<"menu"> = {
  menu: {
    help: "pergunta IP e porta (só o que não veio em opções) e atende",
    flags: ["host", "port", "quiet", "verbose"],
  },
};

const PEER_COMMANDS: Commands<"menu" | "share" | "search" | "get"> = {
  menu: { help: "menu com JOIN, SEARCH e DOWNLOAD", flags: ["host", "port", "dir", ...OF_A_PEER] },
  share: {
    help: "entra na rede e compartilha até receber um sinal",
    flags: ["dir", "host", "port", "json", ...OF_A_PEER],
    needs: ["dir"],
  },
  search: { help: "diz que peers têm o arquivo", operand: "NOME", flags: ["host", "port", "json", ...OF_A_PEER] },
  get: {
    help: "procura, baixa, avisa o servidor e sai",
    operand: "NOME",
    flags: ["from", "dir", "host", "port", "json", ...OF_A_PEER],
    needs: ["dir"],
  },
};

export type ServerConfig = {
  readonly host: string | undefined;
  readonly port: number | undefined;
  readonly quiet: boolean;
  readonly verbose: boolean;
};

type PeerOptions = {
  readonly server: Address;
  /** Undefined when not given: the menu asks, a subcommand takes 127.0.0.1 and port 0. */
  readonly host: string | undefined;
  readonly port: number | undefined;
  readonly json: boolean;
  readonly maxUploads: number;
  readonly rejectAll: boolean;
};

export type PeerConfig = PeerOptions &
  (
    | { readonly command: "menu"; readonly folder: string | undefined }
    | { readonly command: "share"; readonly folder: string }
    | { readonly command: "search"; readonly name: string }
    | { readonly command: "get"; readonly name: string; readonly folder: string; readonly from: Address | undefined }
  );

/** `args` are the words after the program's name. */
export function parseServer(args: readonly string[]): ServerConfig | Asked | Usage {
  const read = readArgs(args, SERVER_COMMANDS);
  if ("usage" in read || "asked" in read) return read;
  const { host, port, quiet = false, verbose = false } = read.flags;
  return { host, port, quiet, verbose };
}

/** `args` are the words after the program's name; `environment` may name the server. */
export function parsePeer(
  args: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
): PeerConfig | Asked | Usage {
  const read = readArgs(args, PEER_COMMANDS);
  if ("usage" in read || "asked" in read) return read;
  const { flags, words: name } = read;
  const variable = environment[SERVER_VARIABLE];
  const server = flags.server ?? (variable ? readAddress(variable) : SERVER_DEFAULT);
  if (isUsage(server)) return { usage: `${SERVER_VARIABLE} ${server.usage}` };
  const options: PeerOptions = {
    server,
    host: flags.host,
    port: flags.port,
    json: flags.json ?? false,
    maxUploads: flags["max-uploads"] ?? UPLOADS_DEFAULT,
    rejectAll: flags["reject-all"] ?? false,
  };
  const folder = flags.dir ?? "";
  switch (read.command) {
    case "menu":
      return { ...options, command: "menu", folder: flags.dir };
    case "share":
      return { ...options, command: "share", folder };
    case "search":
      return { ...options, command: "search", name };
    case "get":
      return { ...options, command: "get", name, folder, from: flags.from };
  }
}

/** The part of --help that follows from the tables. */
export const serverUsage = (): string => usageOf("napster-server", SERVER_COMMANDS);
export const peerUsage = (): string => usageOf("napster-peer", PEER_COMMANDS);
