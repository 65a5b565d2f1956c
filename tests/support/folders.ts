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

/** What every program that a test starts has in its environment: no search for servers in the machine's own networks, and no cache of the person's. */
export const TEST_ENV = {
  NAPSTER_SERVER: "127.0.0.1:1099",
  NAPSTER_CACHE: join(tmpdir(), "napster-tests-cache"),
} as const;

/** Ports that were free a moment ago, all different; for prompts, which do not take port 0. */
export function freePorts(count: number): number[] {
  const listeners = Array.from({ length: count }, () =>
    Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } }),
  );
  const ports = listeners.map((listener) => listener.port);
  for (const listener of listeners) listener.stop(true);
  return ports;
}

export async function sha256(path: string): Promise<string> {
  const hasher = new Bun.CryptoHasher("sha256");
  for await (const chunk of Bun.file(path).stream()) hasher.update(chunk);
  return hasher.digest("hex");
}
