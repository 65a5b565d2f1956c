// Temporary folders, free ports and file digests.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export type Folder = { readonly path: string; sub(name: string, files?: Record<string, string>): string } & Disposable;

/** A folder of this test's own, removed at the end of the `using` block. */
export function temporaryFolder(label: string): Folder {
  const path = mkdtempSync(join(tmpdir(), `napster-${label}-`));
  return {
    path,
    sub(name, files = {}) {
      const folder = join(path, name);
      mkdirSync(folder, { recursive: true });
      for (const [file, text] of Object.entries(files)) writeFileSync(join(folder, file), text);
      return folder;
    },
    [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true, maxRetries: 3 }),
  };
}

const OWN = process.env.BUN_TEST_WORKER_ID ?? 0;
const CACHE = join(tmpdir(), `napster-tests-cache-${OWN}`);
const CONFIG = join(tmpdir(), `napster-tests-config-${OWN}`);

/**
 * What every program that a test starts has in its environment: no search for servers in the machine's own networks, no
 * cache and no key of the person's, nor those of a test file which runs beside this one.
 */
export const TEST_ENV = {
  NAPSTER_SERVER: "127.0.0.1:1099",
  NAPSTER_CACHE: CACHE,
  NAPSTER_CONFIG: CONFIG,
} as const;

// Below those that Linux, macOS and Windows give to port 0 and to connections that go out.
const FREE_PORTS = { least: 16_384, most: 32_767 } as const;

/**
 * Ports that were free a moment ago, all different; for prompts, which do not take port 0. No listener at port 0 gets
 * them meanwhile, of this or of another process.
 */
export function freePorts(count: number): number[] {
  const listeners: { port: number; stop(force: boolean): void }[] = [];
  while (listeners.length < count) {
    const port = FREE_PORTS.least + Math.floor(Math.random() * (FREE_PORTS.most - FREE_PORTS.least + 1));
    try {
      listeners.push(Bun.listen({ hostname: "127.0.0.1", port, socket: { data() {} } }));
    } catch {} // taken
  }
  for (const listener of listeners) listener.stop(true);
  return listeners.map(({ port }) => port);
}

export async function sha256(path: string): Promise<string> {
  const hasher = new Bun.CryptoHasher("sha256");
  for await (const chunk of Bun.file(path).stream()) hasher.update(chunk);
  return hasher.digest("hex");
}
