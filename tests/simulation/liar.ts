// A peer written apart from ours that joins, announces the same content as the honest ones, and lies in one way.

import { type Hashed, pieceBytesFor, rootOfLayer } from "../../src/content/hashing/merkle.ts";
import { createServerLink } from "../../src/peer/server-link.ts";
import type { Connection, Handlers } from "../../src/transport/connection.ts";
import type { Content } from "./contents.ts";
import { flipBit } from "./disk.ts";
import type { Network } from "./network.ts";
import { PEER_PORT, SERVER } from "./peer.ts";
import type { Random } from "./random.ts";
import type { Process, Time } from "./time.ts";

export const LIES = [
  "wrong bytes",
  "sometimes wrong bytes",
  "wrong layer",
  "no root and a wrong layer",
  "short layer",
  "no layer",
  "endless not ready",
  "wrong root",
  "wrong size",
  "wrong offset",
  "wrong length",
  "data twice",
  "cut in the middle",
  "silence after accept",
  "silence in the middle",
  "a trickle",
  "garbage",
  "an endless line",
  "a place in the queue for ever",
  "a dance in the queue",
  "an endless queue that moves",
  "no lanes",
  "pieces it does not have",
  "five terabytes",
  "rejects with CHANGED",
  "rejects with INTERNAL",
  "rejects with TOO_MANY",
  "rejects with NOT_READY",
  "another content and never a byte",
] as const;
export type Lie = (typeof LIES)[number];

const FIVE_TERABYTES = 5 * 2 ** 40;

/** A content of the same size that is not there: its root and layer agree. */
function anotherOf({ hashed }: Content): Hashed {
  if (hashed.size === 0) return hashed;
  const layer = hashed.layer.map((byte) => byte ^ 1);
  return { ...hashed, layer, root: rootOfLayer(layer, hashed.pieceBytes) };
}

export type LiarOptions = {
  readonly ip: string;
  readonly time: Time;
  readonly process: Process;
  readonly network: Network;
  readonly random: Random;
  readonly content: Content;
  readonly lie: Lie;
};

export function startLiar(options: LiarOptions): void {
  const { ip, process, network, random, content, lie } = options;
  const { clock } = process;
  const { listen, connect } = network.of(ip, process);
  const { name } = content;
  const hashed = lie === "another content and never a byte" ? anotherOf(content) : content.hashed;
  const address = { ip, port: PEER_PORT };
  listen(address, (connection) => converse(connection));
  const link = createServerLink({
    server: SERVER,
    env: { connect, clock, random: random.next },
    shares: () => [{ name, size: hashed.size, root: hashed.root }],
    onLost() {},
    onBack() {},
  });
  const enter = async (): Promise<void> => {
    const joined = await link.join(address);
    if ("fault" in joined) clock.after(1000, () => void enter());
  };
  void enter();

  function converse(connection: Connection): Handlers {
    let rest = "";
    let gets = 0;
    let queued = false; // what is asked meanwhile waits for its turn, which never comes
    const say = (line: string) => connection.send(`${line}\n`);
    const decoder = new TextDecoder("latin1");

    function grant(): void {
      const { size, pieceBytes, root } = hashed;
      if (lie === "a place in the queue for ever" || lie === "a dance in the queue") return queue(5);
      if (lie === "an endless queue that moves") return queue(Number.MAX_SAFE_INTEGER);
      const code = /^rejects with (\w+)$/.exec(lie)?.[1];
      if (code !== undefined) return say(`REJECT ${code} ${/Y$/.test(code) ? "retry" : "final"} no`);
      if (lie === "five terabytes") {
        return say(`ACCEPT ${random.hex(32)} ${FIVE_TERABYTES} ${pieceBytesFor(FIVE_TERABYTES)} ${hashed.root}`);
      }
      const noRoot = lie === "no root and a wrong layer" || (lie === "endless not ready" && random.chance(0.5));
      const said = {
        size: lie === "wrong size" ? Math.max(0, size + random.pick([-1, 1, 256 * 1024])) : size,
        root: lie === "wrong root" ? random.hex(64) : noRoot ? "-" : root,
      };
      say(`ACCEPT ${random.hex(32)} ${said.size} ${pieceBytes} ${said.root}`);
    }
    function queue(place: number): void {
      queued = true;
      say(`WAIT ${place}`);
      const moved = lie === "an endless queue that moves" ? place - 1 : place;
      const next = lie === "a dance in the queue" ? 1 + (place % 5) : moved;
      clock.after(2000, () => queue(next));
    }

    function layer(): void {
      if (lie === "no layer") return;
      if (lie === "endless not ready") return say("ERROR NOT_READY retry later");
      const payload = hashed.layer.slice();
      if (lie === "wrong layer" || lie === "no root and a wrong layer") flipBit(payload, random);
      const sent = lie === "short layer" ? payload.subarray(0, Math.max(0, payload.length - 32)) : payload;
      say(`LAYER_OK ${sent.length}`);
      connection.send(sent);
    }

    function data(offset: number, length: number): void {
      gets++;
      const wrong = lie === "wrong bytes" || (lie === "sometimes wrong bytes" && random.chance(0.3));
      const bytes = content.bytes.slice(offset, offset + length);
      if (wrong) flipBit(bytes, random);
      if (lie === "silence after accept" || lie === "another content and never a byte") return;
      if (lie === "silence in the middle" && gets > 1) return;
      if (lie === "garbage") return connection.send(bytes);
      if (lie === "an endless line") return connection.send(new Uint8Array(4096).fill(65));
      if (lie === "a trickle") {
        say(`DATA ${offset} ${bytes.length}`);
        return trickle(bytes, 0);
      }
      const at = lie === "wrong offset" ? Math.max(0, offset + random.pick([-1, 1, 262_144])) : offset;
      const announced = lie === "wrong length" ? Math.max(1, length + random.pick([-1, 1])) : length;
      say(`DATA ${at} ${announced}`);
      if (lie !== "cut in the middle") connection.send(bytes);
      else {
        connection.send(bytes.subarray(0, bytes.length >> 1));
        connection.end();
      }
      if (lie === "data twice") {
        say(`DATA ${offset} ${length}`);
        connection.send(bytes);
      }
    }
    function trickle(bytes: Uint8Array, at: number): void {
      if (at >= bytes.length) return;
      connection.send(bytes.subarray(at, at + 16));
      clock.after(1000, () => trickle(bytes, at + 16));
    }

    function answer(line: string): void {
      if (queued) return;
      const [verb, first, second] = line.split(" ");
      if (verb === "HELLO") return say("HELLO 1");
      if (verb === "PING") return say("PONG");
      if (verb === "PROBE") return say(`PROBE_OK ${first}`);
      if (verb === "DOWNLOAD" || verb === "FETCH") return grant();
      if (verb === "LAYER") return layer();
      if (verb === "LANE") return lie === "no lanes" ? connection.destroy() : say("LANE_OK");
      if (verb === "PIECES") {
        if (lie !== "pieces it does not have") return say("PIECES_OK 0");
        const bits = new Uint8Array(Math.ceil(hashed.layer.length / 32 / 8)).fill(255);
        say(`PIECES_OK ${bits.length}`);
        return connection.send(bits);
      }
      if (verb !== "GET") return;
      if (lie === "pieces it does not have") return say("ERROR NOT_READY retry not here");
      data(Number(first), Number(second));
    }

    return {
      data(chunk) {
        const lines = (rest + decoder.decode(chunk)).split("\n");
        rest = lines.pop() ?? "";
        for (const line of lines) answer(line);
      },
      drain() {},
      end: () => connection.end(),
      close() {},
    };
  }
}
