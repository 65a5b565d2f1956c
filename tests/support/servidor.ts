// A server in this process, and bare connections to it, which say a peer's lines by hand.
// Whatever is opened here is closed when the test is over.

import type { Address } from "../../src/protocol/address.ts";
import { Servidor, type ServidorEnv, type ServidorEvent, type ServidorOptions } from "../../src/servidor.ts";
import type { VirtualClock } from "./clock.ts";
import { closeAfterTest } from "./closing.ts";
import { good } from "./good.ts";
import { openRaw, type Raw } from "./raw.ts";

export type Running = { readonly address: Address; readonly events: ServidorEvent[]; readonly servidor: Servidor };

/** Listens on port 0 of loopback, unless told otherwise. */
export function startServidor({
  clock,
  listen,
  connect,
  isMember,
  admit,
  ...options
}: Partial<ServidorOptions & ServidorEnv> & { clock?: VirtualClock } = {}): Running {
  const events: ServidorEvent[] = [];
  const onEvent = (event: ServidorEvent) => void events.push(event);
  const env = {
    ...(clock && { clock }),
    ...(listen && { listen }),
    ...(connect && { connect }),
    ...(isMember && { isMember }),
    ...(admit && { admit }),
  };
  const servidor = new Servidor({ at: { ip: "127.0.0.1", port: 0 }, onEvent, env, ...options });
  const address = good(servidor.listen());
  closeAfterTest(async () => {
    const closed = servidor.close();
    await clock?.advance(1000);
    await closed;
  });
  return { address, events, servidor };
}

/** A bare connection to whoever listens there. */
export async function dial({ address }: { readonly address: Address }): Promise<Raw> {
  const raw = await openRaw(address);
  closeAfterTest(() => raw.destroy());
  return raw;
}

/** A JOIN with its payload, as it stands on the wire: files of one byte each. */
export function joinOf(port: number, names: readonly string[], { key = "", root = "-" } = {}): string {
  const payload = names.map((name) => `1 ${root} ${name}\n`).join("");
  return `JOIN 127.0.0.1:${port} ${Buffer.byteLength(payload)}${key && ` ${key}`}\n${payload}`;
}

/** A connection that is in. */
export async function enter(server: { readonly address: Address }, port: number, ...names: string[]): Promise<Raw> {
  const raw = await dial(server);
  raw.send(joinOf(port, names));
  const answer = await raw.line();
  if (answer !== `JOIN_OK 127.0.0.1:${port}`) throw new Error(`JOIN was answered ${answer}`);
  return raw;
}

/** Sends a request whose answer is a list, and returns that list; throws where it is another answer. */
export async function askList(raw: Raw, request: string): Promise<string> {
  raw.send(`${request}\n`);
  const line = await raw.line();
  const [verb, ...words] = line.split(" ");
  if (verb !== `${request.split(" ", 1)[0]}_OK`) throw new Error(`${request} was answered ${line}`);
  const count = words.filter((word) => word !== "partial").at(-1);
  return Buffer.from(await raw.bytes(Number(count))).toString();
}
