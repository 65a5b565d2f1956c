// The one door behind which all peers of a generator's process live: it answers the server's dial back for every 127.x.y.z.
// Invariant: peers behind it say no key with their JOIN, so that the nonce itself is the proof.
// Never: serves anything else.

/** The port to declare, under whatever address of loopback. */
export function openDoor(): number {
  const listener = Bun.listen({
    hostname: "0.0.0.0",
    port: 0,
    socket: {
      data(socket, chunk) {
        const [verb, nonce] = chunk.toString("latin1").trimEnd().split(" ");
        if (verb === "PROBE") socket.write(`PROBE_OK ${nonce}\n`);
      },
    },
  });
  listener.unref();
  return listener.port;
}
