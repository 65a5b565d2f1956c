// The real network: Bun's sockets behind the contract of connection.ts, plain or encrypted as the address says.
// Invariant: at 127.0.0.0/8 the bytes are plain, at every other address TLS 1.3 from the first one (security.ts).
// Never: hands over a connection whose other side has not been verified.

import * as fs from "node:fs";
import type { Socket, TCPSocketListener } from "bun";
import { type Address, AS_SEEN } from "../protocol/address.ts";
import { type Fault, type FaultCode, fault, isFault } from "../protocol/fault.ts";
import { CONNECT_SECONDS_MAX } from "../protocol/limits.ts";
import { type Clock, systemClock } from "../shared/clock.ts";
import { type Connect, type Connection, DEAF, type Handlers, type Listen, unreachable } from "./connection.ts";
import { nextDescriptor, SCARCE_FROM } from "./descriptors.ts";
import { listenEverywhere } from "./every-address.ts";
import { createHandshakes, type Handshakes, plain, type Verified, verify } from "./handshake.ts";
import { ownTrouble } from "./route.ts";
import { type Encryption, isSecure, newSecurity, type Security } from "./security.ts";
import { fdOf, newWire, own, shared, type Wire } from "./wire.ts";

export const LISTEN_FAULTS: Record<string, FaultCode> = {
  EADDRINUSE: "PORT_IN_USE",
  EADDRNOTAVAIL: "HOST_UNAVAILABLE",
  EACCES: "PORT_DENIED",
  EMFILE: "NO_DESCRIPTORS",
  ENFILE: "NO_DESCRIPTORS",
};

export const errorCode = (error: unknown): string => String((error as { code?: unknown })?.code ?? error);

/** How often a listener looks whether descriptors are out, or back; and while less than half of them are in use. */
const DESCRIPTOR_CHECK_MS = 250;
const DESCRIPTOR_CHECK_MS_MAX = 5000;

export type Tcp = { readonly listen: Listen; readonly connect: Connect };

/** The network as this program takes part in it: `connect` and `listen` with its key. With no key given it has one for this run. */
export function createTcp(given?: Security | Encryption, clock: Clock = systemClock): Tcp {
  const encryption = typeof given === "object" ? given.encryption : (given ?? "outside");
  let security = typeof given === "object" ? given : undefined;
  /** What TLS needs at this IP; undefined where the bytes are plain. */
  const tlsAt = (ip: string): Tls | undefined => {
    if (!isSecure({ encryption }, ip)) return undefined;
    security ??= newSecurity(encryption);
    const { key, certificate } = security.identity;
    return { key, cert: certificate, rejectUnauthorized: false };
  };
  const handshakes = createHandshakes(clock);
  const listenAt: Listen = (at, accept) => listenWhileAble(at, { accept, tls: tlsAt(at.ip), handshakes });
  return {
    // One socket for every address would have to tell plain bytes and TLS apart by what comes.
    listen: (at, accept) =>
      at.ip === AS_SEEN && encryption === "outside"
        ? listenEverywhere(at.port, (one) => listenAt(one, accept), { clock })
        : listenAt(at, accept),
    connect: (to, open) => dial(to, open, tlsAt(to.ip)),
  };
}

type Tls = { readonly key: string; readonly cert: string; readonly rejectUnauthorized: false };
type Listening = {
  readonly accept: (connection: Connection) => Handlers;
  readonly tls?: Tls | undefined;
  readonly handshakes?: Handshakes;
};

/**
 * Listens until it is closed. While the system has no descriptor left it does not: a socket that cannot be accepted
 * would wake the event loop again and again. A dial meanwhile is refused, and a later one finds us again.
 */
function listenWhileAble(at: Address, listening: Listening): ReturnType<Listen> {
  const opened = open(at, listening);
  if (isFault(opened)) return opened;
  const address = { ip: at.ip, port: opened.port };
  let listener: TCPSocketListener<Wire> | undefined = opened;
  let check = setTimeout(look, DESCRIPTOR_CHECK_MS).unref();
  function look(): void {
    const next = nextDescriptor();
    if (listener !== undefined && next === undefined) {
      listener.stop();
      listener = undefined;
    } else if (listener === undefined && next !== undefined && next < SCARCE_FROM) {
      const again = open(address, listening);
      if (!isFault(again)) listener = again;
    }
    const isPlenty = next !== undefined && next < SCARCE_FROM / 2;
    check = setTimeout(look, isPlenty ? DESCRIPTOR_CHECK_MS_MAX : DESCRIPTOR_CHECK_MS).unref();
  }
  return {
    address,
    close() {
      clearTimeout(check);
      listener?.stop();
    },
  };
}

/** How many ports after a taken one are tried. */
const FREE_PORT_TRIES = 100;

/** The first port from `at` on, of FREE_PORT_TRIES, where one can listen now. */
export function freePort({ ip, port }: Address): number | undefined {
  const last = Math.min(port + FREE_PORT_TRIES - 1, 65535);
  for (let candidate = port; candidate <= last; candidate += 1) {
    const listener = open({ ip, port: candidate }, { accept: () => DEAF });
    if (isFault(listener)) continue;
    listener.stop(true);
    return candidate;
  }
  return undefined;
}

function open(at: Address, { accept, tls, handshakes }: Listening): TCPSocketListener<Wire> | Fault {
  try {
    return Bun.listen<Wire>({
      hostname: at.ip,
      port: at.port,
      exclusive: true,
      allowHalfOpen: true,
      ...(tls && { tls: { ...tls, requestCert: true } }),
      socket: {
        ...shared,
        open(socket) {
          socket.data = newWire();
          // One that was reset while it waited to be accepted has no other end any more.
          if (socket.remoteAddress === undefined || isOneTooMany(socket)) return void socket.terminate();
          socket.setNoDelay(true);
          if (tls === undefined) return void own(plain(socket), accept);
          socket.data.unverified = handshakes?.begin(socket.remoteAddress, () => socket.terminate());
          if (socket.data.unverified === undefined) socket.terminate();
        },
        handshake(socket) {
          const verified = verifyOnce(socket, { ip: socket.remoteAddress, port: socket.remotePort });
          if (verified === undefined || isFault(verified)) socket.terminate();
          else own(verified, accept);
        },
      },
    });
  } catch (error) {
    const code = errorCode(error);
    const why = LISTEN_FAULTS[code] ?? (isOutOfDescriptors() ? "NO_DESCRIPTORS" : "HOST_UNAVAILABLE");
    return fault(why, "ours", `${at.ip}:${at.port} ${code}`);
  }
}

/** Undefined for a socket that is closed, or that has had its verdict. */
function verifyOnce(socket: Socket<Wire>, to: Address): Verified<Socket<Wire>> | Fault | undefined {
  if (socket.data.handlers !== undefined || socket.readyState <= 0) return undefined;
  return verify(socket, socket.getTLSVersion(), to);
}

/** Bun names no reason when a socket cannot be made; another descriptor cannot be had then either. */
function isOutOfDescriptors(): boolean {
  try {
    fs.closeSync(fs.openSync(process.execPath, "r"));
    return false;
  } catch (error) {
    return /^E[MN]FILE$/.test(errorCode(error));
  }
}

/** What is left of our descriptors is for files, dials and answers. */
const isOneTooMany = (socket: Socket<Wire>): boolean => process.platform !== "win32" && fdOf(socket) >= SCARCE_FROM;

function dial(to: Address, open: (connection: Connection) => Handlers, tls: Tls | undefined): ReturnType<Connect> {
  const { promise, resolve } = Promise.withResolvers<Connection | Fault>();
  let late = false;
  const give = (result: Connection | Fault) => {
    clearTimeout(deadline);
    late = true;
    resolve(result);
  };
  const refuse = (detail: string) => give(unreachable(to, detail));
  const fail = async (error: unknown) => {
    const ours = await ownTrouble(to);
    give(unreachable(to, ours ?? errorCode(error), ours === undefined ? "network" : "ours"));
  };
  const deadline = setTimeout(() => refuse("ETIMEDOUT"), CONNECT_SECONDS_MAX * 1000);
  Bun.connect<Wire>({
    hostname: to.ip,
    port: to.port,
    allowHalfOpen: true,
    data: newWire(),
    ...(tls && { tls }),
    socket: {
      ...shared,
      open(socket) {
        // Wine reports a refused connection as an open one without a remote address.
        if (late || socket.remoteAddress === undefined) {
          socket.terminate();
          return refuse("ECONNREFUSED");
        }
        socket.setNoDelay(true);
        if (tls === undefined) give(own(plain(socket), open));
        else socket.data.unverified = () => refuse("ECONNRESET"); // also when it closes before the handshake is over
      },
      handshake(socket) {
        const verified = late ? undefined : verifyOnce(socket, to);
        if (verified !== undefined && !isFault(verified)) {
          socket.data.unverified = undefined;
          return give(own(verified, open));
        }
        if (verified !== undefined) give(verified);
        socket.terminate(); // our certificate has not left yet: a wrong program learns nothing of us
      },
      connectError: (_socket, error) => void fail(error),
    },
  }).catch(fail);
  return promise;
}

/** With a key for this run. */
export const { listen, connect }: Tcp = createTcp();
