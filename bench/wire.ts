// Just enough of the peer's protocol to know that a share is hashed: DOWNLOAD, then LAYER until it is there.
// Invariant: asks for no byte of the file, and leaves the connection when it knows.
// Never: measures anything.

const POLL_MS = 50;
const SECONDS_MAX = 300;

/** Resolves once the peer at `address` (ip:port) has the piece layer of `name`. */
export async function waitForLayer(address: string, name: string): Promise<void> {
  const [hostname = "", port = ""] = address.split(":");
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  let ask = setTimeout(() => {}, 0);
  const deadline = setTimeout(
    () => reject(new Error(`${name} is not hashed after ${SECONDS_MAX} s`)),
    SECONDS_MAX * 1000,
  );
  const socket = await Bun.connect({
    hostname,
    port: Number(port),
    socket: {
      open: (opened) => void opened.write(`HELLO 1\nDOWNLOAD ${name}\nLAYER\n`),
      data(opened, chunk) {
        const text = chunk.toString("latin1");
        if (/(^|\n)LAYER_OK /.test(text)) resolve();
        else if (/(^|\n)REJECT /.test(text)) reject(new Error(text.trim()));
        else if (/(^|\n)ERROR NOT_READY /.test(text)) ask = setTimeout(() => void opened.write("LAYER\n"), POLL_MS);
        else if (/(^|\n)ERROR /.test(text)) reject(new Error(text.trim()));
      },
      close: () => reject(new Error(`${address} closed before ${name} was hashed`)),
      error: (_socket, error) => reject(error),
    },
  });
  try {
    await promise;
  } finally {
    clearTimeout(deadline);
    clearTimeout(ask);
    socket.end();
  }
}
