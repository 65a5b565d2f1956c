// A dial that can be called off at once: the server's dial back to a peer that joins.
// Invariant: once called off it holds no descriptor; Bun.connect keeps one until the system gives up (130 s).
// Never: carries more than a few lines, or waits for a peer that does not read.

import { Socket } from "node:net";
import { connect as connectTls, type TLSSocket } from "node:tls";
import type { Address } from "../protocol/address.ts";
import { type Fault, isFault } from "../protocol/fault.ts";
import { type Connect, type Connection, DEAF, unreachable } from "./connection.ts";
import { plain, type Verified, verify } from "./handshake.ts";
import { ownTrouble } from "./route.ts";
import { isSecure, type Security } from "./security.ts";
import { errorCode } from "./tcp.ts";

/** Dials that show this key. */
export const createDialProbe =
  (security: Security): Connect =>
  (to, open, signal) => {
    const { promise, resolve } = Promise.withResolvers<Awaited<ReturnType<Connect>>>();
    const socket = new Socket({ allowHalfOpen: true });
    let handlers = DEAF;
    let hasFailed = false;
    const refuse = (detail: string, ours = false): void => resolve(unreachable(to, detail, ours ? "ours" : "network"));
    const start = (verified: Verified<Socket>): void => {
      const connection = wrap(verified, to);
      handlers = open(connection);
      resolve(connection);
      verified.socket.on("data", (chunk: Buffer) => handlers.data(chunk));
      verified.socket.on("drain", () => handlers.drain());
      verified.socket.on("end", () => handlers.end());
    };
    socket.once("connect", () => {
      // Wine reports a refused connection as an open one without a remote address.
      if (socket.remoteAddress === undefined) return void socket.destroy();
      if (!isSecure(security, to.ip)) return start(plain(socket));
      encrypt(socket, to, security, (verified) => {
        if (!isFault(verified)) return start(verified);
        resolve(verified);
        socket.destroy();
      });
    });
    socket.on("error", async (error) => {
      hasFailed = true; // `close` follows at once
      const ours = await ownTrouble(to);
      refuse(ours ?? errorCode(error), ours !== undefined);
    });
    socket.on("close", () => {
      handlers.close();
      handlers = DEAF;
      if (!hasFailed) refuse("ECANCELED");
    });
    signal?.addEventListener("abort", () => socket.destroy(), { once: true });
    if (signal?.aborted) socket.destroy();
    else socket.connect({ host: to.ip, port: to.port, family: 4 });
    return promise;
  };

function wrap({ socket, id }: Verified<Socket>, to: Address): Connection {
  return {
    remote: to,
    ...(id !== undefined && { id }),
    get local() {
      return { ip: socket.localAddress ?? "", port: socket.localPort ?? 0 };
    },
    send: (bytes) => void socket.write(bytes),
    get queued() {
      return socket.writableLength;
    },
    pause: () => void socket.pause(),
    resume: () => void socket.resume(),
    end: () => void socket.end(),
    destroy: () => void socket.destroy(),
  };
}

/** TLS over `socket`; told once, unless the socket closes before. */
function encrypt(
  socket: Socket,
  to: Address,
  { identity: { key, certificate } }: Security,
  tell: (verified: Verified<TLSSocket> | Fault) => void,
): void {
  const secure = connectTls({ socket, key, cert: certificate, rejectUnauthorized: false });
  secure.once("secureConnect", () => tell(verify(secure, secure.getProtocol(), to)));
  secure.on("error", () => socket.destroy());
  secure.on("close", () => socket.destroy());
}
