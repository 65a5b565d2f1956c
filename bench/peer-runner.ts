// One peer of ours without its console, for what the console does not show: a search timed from within, bytes uploaded.
// Invariant: one JSON object a line on stdout for each thing that happens; SIGTERM makes it leave and end.
// Never: stands in for the executable where that can say the same.
//
//   bun bench/peer-runner.ts '{"server":"127.0.0.1:1099","folder":"/tmp/x","get":{"name":"a.mp4","from":"127.0.0.1:8776"}}'

import { Peer } from "../src/peer.ts";
import { parseAddress } from "../src/protocol/address.ts";
import { isFault } from "../src/protocol/fault.ts";

export type RunnerConfig = {
  readonly server: string;
  readonly folder: string;
  readonly maxUploadRate?: number;
  readonly get?: { readonly name: string; readonly from: string; readonly only?: boolean };
  /** Times a search every so many milliseconds while the download runs. */
  readonly probeMs?: number;
};

const tell = (event: object): void => console.log(JSON.stringify(event));

function must<T>(result: T): Exclude<T, { fault: unknown }> {
  if (isFault(result)) {
    console.error(JSON.stringify(result));
    process.exit(1);
  }
  return result as Exclude<T, { fault: unknown }>;
}

const config = JSON.parse(Bun.argv[2] ?? "{}") as RunnerConfig;
const peer = new Peer({
  server: must(parseAddress(config.server)),
  uploads: { maxUploads: 100, rejectAll: false, maxUploadRate: config.maxUploadRate },
  onEvent: tell,
});
const { address } = must(await peer.join({ host: "127.0.0.1", port: 0, folder: config.folder }));
console.error(`pronto ${address.ip}:${address.port}`);

process.on("SIGTERM", () => void peer.leave().then(() => process.exit(0)));

if (config.get !== undefined) {
  const { name, from, only = false } = config.get;
  let probing = config.probeMs !== undefined;
  const probe = async (): Promise<void> => {
    while (probing) {
      const start = performance.now();
      await Bun.sleep(config.probeMs ?? 0);
      const asked = performance.now();
      must(await peer.search(name));
      tell({ type: "probe", ms: performance.now() - asked, late: asked - start - (config.probeMs ?? 0) });
    }
  };
  const probed = probe();
  const start = performance.now();
  must(await peer.download(must(parseAddress(from)), { name, only }));
  tell({ type: "downloaded", seconds: (performance.now() - start) / 1000 });
  probing = false;
  await probed;
  await peer.leave();
  process.exit(0);
}
