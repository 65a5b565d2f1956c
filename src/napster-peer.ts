// The peer's executable: options -> parts -> go.
// Invariant: whatever it was asked to do, the peer leaves the network before the process ends.
// Never: holds logic of its own; every step is one call into the part that knows.

import { isUsage, type PeerConfig, parsePeer, peerUsage } from "./config.ts";
import { runTask } from "./console/headless.ts";
import { peerHelp } from "./console/help.ts";
import { runMenu } from "./console/menu.ts";
import { answerAndExit, runProgram } from "./console/program.ts";
import { createJsonReport, createReport } from "./console/report.ts";
import { createSkippedNotes, type Session } from "./console/session.ts";
import { Peer, type PeerEvent } from "./peer.ts";
import { fault } from "./protocol/fault.ts";
import { versionLine } from "./version.ts";

const PROGRAM = "napster-peer";

/** A server that does not answer the goodbye learns of it from the closed connection. */
const LEAVE_MS_MAX = 2000;

async function main(config: PeerConfig): Promise<never> {
  return runProgram(async ({ output, reportParts, life, openAsker }) => {
    const { server, maxUploads, rejectAll } = config;
    const report = config.json ? createJsonReport(reportParts) : createReport(reportParts);
    const skipped = createSkippedNotes(report);

    function onEvent(event: PeerEvent): void {
      if (event.type === "server-lost") report.failed(fault("SERVER_GONE", "network"), { server });
      if (event.type === "server-back") report.ready(event.address);
      if (event.type === "skipped") skipped(event.name, event.reason);
    }

    const peer = new Peer({ server, maxUploads, rejectAll, onEvent });
    const session: Session = { peer, report, life, server };
    let code = 0;
    if (config.command === "menu") {
      const asker = openAsker();
      await runMenu({ ...session, asker, given: config, ready: output.ready });
    } else code = await runTask(session, config);
    await Promise.race([peer.leave(), Bun.sleep(LEAVE_MS_MAX)]);
    return code;
  });
}

const config = parsePeer(Bun.argv.slice(2), process.env);
const texts = { help: peerHelp(peerUsage()), version: versionLine(PROGRAM) };
await (isUsage(config) || "asked" in config ? answerAndExit(PROGRAM, config, texts) : main(config));
