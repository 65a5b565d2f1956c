// Somebody who downloads in order to keep others waiting: it holds slots and places at each sharer, in one of many ways.

import type { Address } from "../../src/protocol/address.ts";
import { encodeRequest } from "../../src/protocol/requests.ts";
import type { Connection } from "../../src/transport/connection.ts";
import type { Content } from "./contents.ts";
import type { Network } from "./network.ts";
import type { Random } from "./random.ts";
import type { Process } from "./time.ts";

export const HOGS = [
  "a byte now and then",
  "the layer now and then",
  "a PING now and then",
  "a GET that it reads slowly",
  "a hundred downloads",
] as const;
export type Hog = (typeof HOGS)[number];

export const isHog = (way: string): way is Hog => (HOGS as readonly string[]).includes(way);

export type HogOptions = {
  readonly ip: string;
  readonly process: Process;
  readonly network: Network;
  readonly random: Random;
  readonly content: Content;
  readonly way: Hog;
  /** Whom it visits. */
  readonly targets: readonly Address[];
};

const CONNECTIONS = 9;
const CROWD = 108;
/** Just often enough that a connection counts as in use. */
const NOW_AND_THEN_MS = 40_000;
const REDIAL_MS = 1000;
/** Bytes per second: below the least rate; and, of the hundred, what an honest one may have as well. */
const SLOWLY = 1024;
const HONESTLY = 20_000;

export function startHog({ ip, process, network, random, content, way, targets }: HogOptions): void {
  const { clock } = process;
  const { connect } = network.of(ip, process);
  const size = content.bytes.length;

  async function visit(target: Address): Promise<void> {
    const made = await connect(target, (connection) => {
      connection.send(encodeRequest({ verb: "HELLO", version: 1 }));
      connection.send(encodeRequest({ verb: "DOWNLOAD", name: content.name }));
      let granted = false;
      return {
        data(chunk) {
          if (!granted && Buffer.from(chunk).includes("ACCEPT")) {
            granted = true;
            hold(connection);
          } else if (way === "a GET that it reads slowly" && granted) rest(connection, chunk.length, SLOWLY);
          else if (way === "a hundred downloads" && granted) rest(connection, chunk.length, HONESTLY);
        },
        drain() {},
        end: () => connection.end(),
        close: () => void clock.after(REDIAL_MS, () => void visit(target)),
      };
    });
    if ("fault" in made) clock.after(REDIAL_MS * 5, () => void visit(target));
  }

  /** Reads no more for as long as so many bytes are worth. */
  function rest(connection: Connection, bytes: number, rate: number): void {
    connection.pause();
    clock.after((bytes / rate) * 1000, () => connection.resume());
  }

  function hold(connection: Connection): void {
    const ask = (): void => {
      if (way === "a byte now and then") connection.send(encodeRequest({ verb: "GET", offset: 0, length: 1 }));
      else if (way === "the layer now and then") connection.send(encodeRequest({ verb: "LAYER" }));
      else if (way === "a PING now and then") connection.send(encodeRequest({ verb: "PING" }));
      else for (let i = 0; i < 8; i++) connection.send(encodeRequest({ verb: "GET", offset: 0, length: size }));
      clock.after(NOW_AND_THEN_MS, ask);
    };
    ask();
  }

  for (const target of targets) {
    const connections = way === "a hundred downloads" ? CROWD : CONNECTIONS;
    for (let i = 0; i < connections; i++) clock.after(random.next() * 500, () => void visit(target));
  }
}
