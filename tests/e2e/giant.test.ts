// A real video of more than 1 GB, moved between two peers by the executables, with their memory watched.

import { expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";
import { sha256 } from "../support/folders.ts";
import { openNative, share, startServer } from "../support/napster.ts";
import { describeWith } from "../support/tools.ts";
import { decodeVideo, GIANT_BYTES, makeVideo } from "../support/video.ts";

setDefaultTimeout(180_000);

// The runtime itself takes about 100 MB; a file held in memory would take over 1,000.
const RESIDENT_BYTES_MAX = 300e6;
const SAMPLE_MILLISECONDS = 20;

describeWith(["linux", "ffmpeg"], "a giant video", () => {
  test("arrives whole, within bounded memory on both sides, and plays to its end (SPEC 5.f, 5.g, 5.h)", async () => {
    await using machine = await openNative();
    const from = machine.place("from");
    const here = machine.place("here");
    const bytes = await makeVideo(join(from.path, "gigante.mp4"));
    expect(bytes).toBeGreaterThan(GIANT_BYTES);
    const { server, at } = await startServer(machine);
    await using _server = server;
    const { peer: sender } = await share(machine, at, from);
    await using _sender = sender;

    await using receiver = machine.start("napster-peer", ["get", "gigante.mp4", "--server", at, "--dir", here.typed]);
    const most = { sender: 0, receiver: 0 };
    while (receiver.running()) {
      most.sender = Math.max(most.sender, sender.residentBytes());
      most.receiver = Math.max(most.receiver, receiver.residentBytes());
      await Bun.sleep(SAMPLE_MILLISECONDS);
    }
    expect(await receiver.exit()).toBe(0);
    expect(receiver.stdout()).toEndWith(`Arquivo gigante.mp4 baixado com sucesso na pasta ${here.typed}\n`);
    expect(most.sender).toBeLessThan(RESIDENT_BYTES_MAX);
    expect(most.receiver).toBeLessThan(RESIDENT_BYTES_MAX);
    expect(most.sender).toBeGreaterThan(0);

    const copy = join(here.path, "gigante.mp4");
    expect(await sha256(copy)).toBe(await sha256(join(from.path, "gigante.mp4")));
    await decodeVideo(copy);
  });
});
