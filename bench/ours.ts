// Our own side of every row: a server, peers that share, and peers that get, all from the executables.
// Invariant: each network is on its own ports with its own hash cache; nobody's real cache is read or written.
// Never: talks to src/ but through executables, or through peer-runner.ts where the console does not show enough.

import { copyFileSync, existsSync } from "node:fs";
import { join } from "node:path";
import { type Child, run, startChild } from "./child.ts";
import type { RunnerConfig } from "./peer-runner.ts";
import { waitForLayer } from "./wire.ts";

const ROOT = join(import.meta.dir, "..");
const READY = /^pronto (\d+\.\d+\.\d+\.\d+:\d+)\r?$/m;

export type Programs = { readonly server: string; readonly peer: string };

/** Copies of the executables in `from`, so that a build made meanwhile changes nothing. Builds them if they are missing. */
export function takePrograms(folder: string, from = join(ROOT, "dist")): Programs {
  const names = ["napster-server", "napster-peer"].map((name) => join(from, name));
  if (!names.every((path) => existsSync(path))) run([process.execPath, "run", "build.ts"], ROOT);
  const [server, peer] = names.map((path) => {
    const copy = join(folder, path.slice(path.lastIndexOf("/") + 1));
    copyFileSync(path, copy);
    return copy;
  }) as [string, string];
  return { server, peer };
}

export type Sharer = {
  readonly address: string;
  readonly child: Child;
  /** Bytes of each upload that is over and sent any, as its JSON events tell. */
  uploaded(): number[];
};

export type ShareOptions = {
  /** Bytes per second that it uploads at most. */
  readonly maxUploadRate?: number;
  /** Waits until this file of the folder is hashed. */
  readonly hashed?: string;
  readonly cache?: string;
  readonly command?: readonly string[];
  readonly host?: string;
};

export type GetOptions = {
  readonly from?: string;
  readonly only?: boolean;
  /** With --play, for a machine without a player. */
  readonly isPlayed?: boolean;
  readonly maxUploadRate?: number;
  readonly command?: readonly string[];
  readonly host?: string;
};

export type Network = {
  readonly server: string;
  readonly serverChild: Child;
  share(folder: string, options?: ShareOptions): Promise<Sharer>;
  get(name: string, folder: string, options?: GetOptions): Child;
  /** A peer of peer-runner.ts, which tells each event as one JSON object a line. */
  runner(config: Omit<RunnerConfig, "server">, onEvent: (event: RunnerEvent) => void): Child;
  menu(): Child;
  close(): Promise<void>;
};

export type RunnerEvent = { readonly type: string; readonly ms?: number; readonly late?: number };

export type JsonEvent = { readonly event: string; readonly bytes?: number; readonly sources?: number };

/** The --json events of one kind that a peer has told so far. */
export function eventsOf(child: Child, kind: string): JsonEvent[] {
  const lines = child.stdout().split("\n").slice(0, -1);
  return lines.map((line) => JSON.parse(line) as JsonEvent).filter(({ event }) => event === kind);
}

export type NetworkOptions = {
  readonly programs: Programs;
  readonly cache: string;
  /** Where the server listens. */
  readonly host?: string;
  /** Put before the server's command, `ip netns exec NAME` for one. */
  readonly command?: readonly string[];
};

const flag = (name: string, value: string | number | undefined): string[] =>
  value === undefined ? [] : [`--${name}`, String(value)];

export async function startNetwork(options: NetworkOptions): Promise<Network> {
  const { programs, cache, host = "127.0.0.1", command = [] } = options;
  const children: Child[] = [];
  const start = (
    words: readonly string[],
    more: { cache?: string; pipeInput?: boolean; onLine?(line: string): void },
  ) => {
    const { cache: own = cache, ...rest } = more;
    const child = startChild({ command: words, env: { NAPSTER_CACHE: own, NAPSTER_CONFIG: own }, ...rest });
    children.push(child);
    return child;
  };
  const serverChild = start([...command, programs.server, "--host", host, "--port", "0", "--quiet"], {});
  const server = (await serverChild.shows(READY))[1] as string;
  const peer = (words: readonly string[]) => [programs.peer, ...words, "--server", server];

  async function share(folder: string, given: ShareOptions = {}): Promise<Sharer> {
    const rate = flag("max-upload-rate", given.maxUploadRate);
    const words = ["share", "--dir", folder, "--json", "--max-uploads", "100", ...rate, ...flag("host", given.host)];
    const child = start([...(given.command ?? []), ...peer(words)], given.cache ? { cache: given.cache } : {});
    const address = (await child.shows(READY))[1] as string;
    if (given.hashed !== undefined) await waitForLayer(address, given.hashed);
    return {
      address,
      child,
      uploaded: () =>
        eventsOf(child, "uploaded")
          .map(({ bytes = 0 }) => bytes)
          .filter(Boolean),
    };
  }

  function get(name: string, folder: string, given: GetOptions = {}): Child {
    const rate = flag("max-upload-rate", given.maxUploadRate);
    const more = [
      ...flag("from", given.from),
      ...(given.only ? ["--only"] : []),
      ...(given.isPlayed ? ["--play"] : []),
      ...rate,
      ...flag("host", given.host),
    ];
    return start([...(given.command ?? []), ...peer(["get", name, "--dir", folder, "--json", ...more])], {});
  }

  return {
    server,
    serverChild,
    share,
    get,
    runner(config, onEvent) {
      const words = [process.execPath, join(import.meta.dir, "peer-runner.ts"), JSON.stringify({ server, ...config })];
      return start(words, { onLine: (line) => onEvent(JSON.parse(line) as RunnerEvent) });
    },
    menu: () => start(peer([]), { pipeInput: true }),
    async close() {
      await Promise.all(children.map((child) => child.stop()));
    },
  };
}
