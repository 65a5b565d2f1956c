// A router between one peer and the server: the port that the server sees is the router's, and leads nowhere until it is forwarded.

import type { Socket } from "bun";
import { freePorts } from "./folders.ts";

export type Nat = {
  /** Where the peer finds the server. */
  readonly server: string;
  /** Where others would find the peer. */
  readonly outside: string;
  /** From now on whoever comes to `outside` gets to the peer. */
  forward(): void;
} & Disposable;

type Pipe = { far: Socket<Pipe> | undefined; early: Uint8Array[] };

/** Listens on `port` and joins each connection to one that is dialled to `to`; `change` sees what goes there. */
function relay(port: number, to: () => { hostname: string; port: number }, change = (bytes: Buffer) => bytes) {
  const closeFar = ({ data }: Socket<Pipe>) => void data.far?.end();
  return Bun.listen<Pipe>({
    hostname: "127.0.0.1",
    port,
    socket: {
      open(near) {
        near.data = { far: undefined, early: [] };
        const far = { far: near, early: [] };
        Bun.connect<Pipe>({
          ...to(),
          data: far,
          socket: {
            open(socket) {
              near.data.far = socket;
              for (const bytes of near.data.early) socket.write(bytes);
            },
            data: (_, bytes) => void near.write(bytes),
            close: () => void near.end(),
          },
        }).catch(() => near.end());
      },
      data(near, bytes) {
        const changed = change(bytes);
        if (near.data.far === undefined) near.data.early.push(changed);
        else near.data.far.write(changed);
      },
      close: closeFar,
    },
  });
}

/** `server` is `ip:port`. Good for a peer whose folder fits into one segment. */
export function startNat(server: string): Nat {
  const [hostname = "", port = ""] = server.split(":");
  const [outside = 0] = freePorts(1);
  let inside = 0;
  let forwarded: { stop(force: boolean): void } | undefined;
  const change = (bytes: Buffer): Buffer =>
    Buffer.from(
      bytes.toString("latin1").replace(/^JOIN ([\d.]+):(\d+) /m, (_, ip: string, own: string) => {
        inside = Number(own);
        return `JOIN ${ip}:${outside} `;
      }),
      "latin1",
    );
  const inner = relay(0, () => ({ hostname, port: Number(port) }), change);
  return {
    server: `127.0.0.1:${inner.port}`,
    outside: `127.0.0.1:${outside}`,
    forward() {
      forwarded = relay(outside, () => ({ hostname: "127.0.0.1", port: inside }));
    },
    [Symbol.dispose]() {
      inner.stop(true);
      forwarded?.stop(true);
    },
  };
}
