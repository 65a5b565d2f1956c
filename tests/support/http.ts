// HTTP by hand: bytes as a client would never send them, and all that comes back.

import { connect } from "node:net";

/** Sends `request` to HOST:PORT and resolves with what came until the end, or until `enough` bytes. */
export function rawHttp(at: string, request: string, enough = 64): Promise<string> {
  const [host = "", port = ""] = at.split(":");
  return new Promise((resolve, reject) => {
    let text = "";
    const socket = connect(Number(port), host, () => socket.write(request));
    socket.on("data", (chunk) => {
      text += chunk.toString("latin1");
      if (text.length >= enough) socket.destroy();
    });
    socket.on("close", () => resolve(text));
    socket.on("error", reject);
  });
}
