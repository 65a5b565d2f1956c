// The page of one run: opened once, when it is asked for, and the guests' page beside it.
// Invariant: however often it is asked for there is one server, and one address.
// Never: outlives the run.

import { randomBytes } from "node:crypto";
import { networkInterfaces } from "node:os";
import type { Complaint } from "../console/text/complaints.ts";
import { complaintOf } from "../console/text/complaints.ts";
import type { Report } from "../console/text/report.ts";
import type { Peer, PeerEvent } from "../peer.ts";
import { type Address, formatAddress, isLoopback, isPrivate } from "../protocol/address.ts";
import { type Fault, fault, isFault } from "../protocol/fault.ts";
import { createPageReport } from "./page-report.ts";
import { createPeerShell, type PeerShellOptions } from "./peer-shell.ts";
import { createWebServer, type WebServer } from "./web-server.ts";

export type PageOptions = Omit<PeerShellOptions, "peer"> & {
  readonly peer: PeerShellOptions["peer"] & Pick<Peer, "watchUploads" | "openGuests" | "localIp">;
  /** 0 for any free one. */
  readonly port: number;
};

export type Page = {
  /** The address of the page, which is served from now on. */
  open(): Promise<string | Fault>;
  /** The address of the guests' page; `host` where this peer was told to listen. */
  invite(host: string | undefined): Promise<string | Fault>;
  /** What the console is told, for pages; undefined while none was opened. */
  report(): Report | undefined;
  hear(event: PeerEvent): void;
  close(): void;
};

/** Where guests reach this machine: as peers do, or by the first private address that is not this machine's alone. */
async function guestIp(peer: Pick<Peer, "localIp">, host: string | undefined): Promise<string | undefined> {
  if (host !== undefined && isPrivate(host)) return host;
  const own = await peer.localIp();
  if (isPrivate(own) && !isLoopback(own)) return own;
  const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  return all.map(({ address }) => address).find((ip) => isPrivate(ip) && !isLoopback(ip));
}

export function createPage(options: PageOptions): Page {
  const { peer, port } = options;
  const shell = createPeerShell(options);
  let server: WebServer | undefined;
  let report: Report | undefined;
  let opening: Promise<string | Fault> | undefined;

  async function start(): Promise<string | Fault> {
    const started = await createWebServer(shell, port);
    if (isFault(started)) {
      opening = undefined;
      return started;
    }
    server = started;
    report = createPageReport(started.tell);
    peer.watchUploads();
    return started.url;
  }

  return {
    open() {
      opening ??= start();
      return opening;
    },
    async invite(host) {
      const ip = await guestIp(peer, host);
      if (ip === undefined) return fault("HOST_UNAVAILABLE", "ours", "no private address");
      const token = randomBytes(16).toString("hex");
      const address = await peer.openGuests({ ip, port: 0 }, token);
      if (isFault(address)) return address;
      const url = `http://${formatAddress(address)}/${token}/`;
      shell.invited(url);
      return url;
    },
    report: () => report,
    hear: shell.hear,
    close: () => server?.close(),
  };
}

/** Why there is no page for guests, for the person. */
export const uninvitedComplaint = (why: Fault, at?: Address): Complaint =>
  why.detail === "no private address"
    ? {
        cause: "esta máquina não tem endereço de rede local em que convidados a alcancem",
        code: why.fault,
        hint: "ligue-a à rede local, ou indique com --host um IP privado dela (10.x, 172.16-31.x, 192.168.x)",
      }
    : complaintOf(why, { at });
