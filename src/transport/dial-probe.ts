// A dial that can be called off at once: the server's dial back to a peer that joins.
// Invariant: once called off it holds no descriptor; Bun.connect keeps one until the system gives up (130 s).
// Never: carries more than a few lines, or waits for a peer that does not read.

import { Socket } from "node:net";
import { type Connect, type Connection, DEAF, unreachable } from "./connection.ts";
import { ownTrouble } from "./route.ts";
import { errorCode } from "./tcp.ts";

export const dialProbe: Connect = (to, open, signal) => {
  const { promise, resolve } = Promise.withResolvers<Awaited<ReturnType<Connect>>>();
  const socket = new Socket({ allowHalfOpen: true });
  let handlers = DEAF;
  let hasFailed = false;
  const refuse = (detail: string, ours = false): void => resolve(unreachable(to, detail, ours ? "ours" : "network"));
  const connection: Connection = {
    remote: to,
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
  socket.once("connect", () => {
    // Wine reports a refused connection as an open one without a remote address.
    if (socket.remoteAddress === undefined) return void socket.destroy();
    handlers = open(connection);
    resolve(connection);
  });
  socket.on("data", (chunk: Buffer) => handlers.data(chunk));
  socket.on("drain", () => handlers.drain());
  socket.on("end", () => handlers.end());
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
