// Asks the router to lead a port here: by NAT-PMP, else by UPnP; renewed while it is wanted, and taken back.
// Invariant: only the default gateway is asked and believed; every wait and every answer is bounded.
// Never: asks for another machine's port, or keeps a mapping past close() where the router answers.

import type { Address } from "../protocol/address.ts";
import { isFault } from "../protocol/fault.ts";
import { type Clock, createTimer } from "../shared/clock.ts";
import type { Connect } from "../transport/connection.ts";
import type { OpenDatagrams } from "../transport/datagrams.ts";
import { decodeMapped, encodeMap, NAT_PMP_PORT } from "./nat-pmp.ts";
import { askRouter } from "./router-http.ts";
import {
  actionHeader,
  addCall,
  CONFLICTS,
  deleteCall,
  descriptionIn,
  ONLY_PERMANENT,
  type Place,
  refusalIn,
  SEARCHED_DEVICES,
  type Service,
  SSDP_GROUP,
  SSDP_PORT,
  searchText,
  serviceIn,
} from "./upnp-messages.ts";

/** A program that is killed leaves its mapping for so long at most. */
export const LEASE_SECONDS = 3600;
/** NAT-PMP's question is repeated so often, after pauses that double (RFC 6886 has more, for slower routers). */
export const PMP_ASKED_MS = [0, 250, 750] as const;
const PMP_MS_MAX = 1500;
export const SSDP_MS_MAX = 1500;
const SSDP_BYTES_MAX = 2048;
/** Other ports that are tried where one leads elsewhere already. */
const CONFLICTS_MAX = 3;

export type RouterNet = {
  readonly gateway: () => Promise<string | undefined>;
  readonly open: OpenDatagrams;
  readonly connect: Connect;
  /** 0 ≤ r < 1, for another port. */
  readonly random: () => number;
};

export type Mapped = {
  readonly by: "NAT-PMP" | "UPnP";
  readonly router: string;
  /** At the router; it leads to the port that was asked for. */
  readonly port: number;
};
/** `close` takes the mapping back, as far as the router answers. */
export type PortMapping = Mapped & { close(): Promise<void> };

type Options = {
  /** Where this peer listens, at the address that it has in the router's network. */
  readonly to: Address;
  readonly net: RouterNet;
  readonly clock: Clock;
};

/** One way to map: asks for a port at the router and says which one it gave, and for how long. */
type Way = {
  map(port: number, seconds: number): Promise<{ readonly port: number; readonly seconds: number } | undefined>;
  unmap(port: number): Promise<unknown>;
};

/** Undefined where there is no router, or it maps nothing. */
export async function openPortMapping({ to, net, clock }: Options): Promise<PortMapping | undefined> {
  const router = await net.gateway();
  if (router === undefined || router === to.ip) return undefined;
  const pmp = natPmp(router, to, { net, clock });
  const first = await pmp.map(to.port, LEASE_SECONDS);
  if (first !== undefined) return keep({ by: "NAT-PMP", router, port: first.port }, pmp, first.seconds, clock);
  const upnp = await findUpnp(router, to, { net, clock });
  const mapped = await upnp?.map(to.port, LEASE_SECONDS);
  if (upnp === undefined || mapped === undefined) return undefined;
  return keep({ by: "UPnP", router, port: mapped.port }, upnp, mapped.seconds, clock);
}

/** Renews at half of the lease; a router that forgot it is asked for the same port. */
function keep(mapped: Mapped, way: Way, seconds: number, clock: Clock): PortMapping {
  const renewing = createTimer(clock);
  let isOpen = true;
  const renewLater = (after: number): void => renewing.set((after * 1000) / 2, () => void renew());
  async function renew(): Promise<void> {
    const again = await way.map(mapped.port, LEASE_SECONDS);
    if (isOpen) renewLater(again?.seconds ?? LEASE_SECONDS / 30);
  }
  if (seconds > 0) renewLater(Math.min(seconds, LEASE_SECONDS));
  return {
    ...mapped,
    async close() {
      isOpen = false;
      renewing.cancel();
      await way.unmap(mapped.port);
    },
  };
}

type Machine = Pick<Options, "net" | "clock">;

function natPmp(router: string, to: Address, { net, clock }: Machine): Way {
  async function ask(question: Uint8Array): Promise<ReturnType<typeof decodeMapped>> {
    const { promise, resolve } = Promise.withResolvers<ReturnType<typeof decodeMapped>>();
    const socket = await net.open({ at: { ip: to.ip, port: 0 } }, (bytes, from) => {
      const answer = from.ip === router && from.port === NAT_PMP_PORT ? decodeMapped(bytes, to.port) : undefined;
      if (answer !== undefined) resolve(answer);
    });
    if (isFault(socket)) return undefined;
    const send = (): void => socket.send(question, { ip: router, port: NAT_PMP_PORT });
    const timers = PMP_ASKED_MS.map((ms) => clock.after(ms, send));
    timers.push(clock.after(PMP_MS_MAX, () => resolve(undefined)));
    const answer = await promise;
    for (const cancel of timers) cancel();
    socket.close();
    return answer;
  }
  return {
    async map(port, seconds) {
      const answer = await ask(encodeMap(to.port, port, seconds));
      return answer === "refused" ? undefined : answer;
    },
    async unmap() {
      // Its answer has no port and no lease: it is not waited for, as the lease ends by itself.
      const socket = await net.open({ at: { ip: to.ip, port: 0 } }, () => {});
      if (isFault(socket)) return;
      socket.send(encodeMap(to.port, 0, 0), { ip: router, port: NAT_PMP_PORT });
      await new Promise<void>((resolve) => clock.after(50, resolve)); // until it has left
      socket.close();
    },
  };
}

async function findUpnp(router: string, to: Address, machine: Machine): Promise<Way | undefined> {
  const place = await searchRouter(router, to, machine);
  if (place === undefined) return undefined;
  const { connect } = machine.net;
  const page = await askRouter({ router, ...place }, connect, machine.clock);
  const service = page?.status === 200 ? serviceIn(page.body, router, place) : undefined;
  return service && upnpWay(router, to, service, machine);
}

/** Where the router's description is: asked of all by multicast and of the router itself; its own answer counts. */
async function searchRouter(router: string, to: Address, { net, clock }: Machine): Promise<Place | undefined> {
  const { promise, resolve } = Promise.withResolvers<Place | undefined>();
  const socket = await net.open({ at: { ip: to.ip, port: 0 }, sendsToAll: true }, (bytes, from) => {
    if (from.ip !== router || bytes.length > SSDP_BYTES_MAX) return;
    const place = descriptionIn(Buffer.from(bytes).toString("latin1"), router);
    if (place !== undefined) resolve(place);
  });
  if (isFault(socket)) return undefined;
  for (const device of SEARCHED_DEVICES) {
    const question = new TextEncoder().encode(searchText(device));
    for (const ip of [SSDP_GROUP, router]) socket.send(question, { ip, port: SSDP_PORT });
  }
  const cancel = clock.after(SSDP_MS_MAX, () => resolve(undefined));
  const place = await promise;
  cancel();
  socket.close();
  return place;
}

function upnpWay(router: string, to: Address, service: Service, { net, clock }: Machine): Way {
  const { type, ...place } = service;
  const call = (text: string) =>
    askRouter({ router, ...place, call: { action: actionHeader(type, text), text } }, net.connect, clock);
  return {
    async map(wanted, lease) {
      let port = wanted;
      let seconds = lease;
      for (let tries = 0; tries <= CONFLICTS_MAX; tries++) {
        const answer = await call(addCall(type, { port, to: to.port, ip: to.ip, seconds }));
        if (answer === undefined) return undefined;
        if (answer.status === 200) return { port, seconds };
        const why = refusalIn(answer.body);
        if (why === ONLY_PERMANENT && seconds > 0) seconds = 0;
        else if (CONFLICTS.has(why)) port = 1024 + Math.floor(net.random() * (65_536 - 1024));
        else return undefined;
      }
      return undefined;
    },
    unmap: (port) => call(deleteCall(type, port)),
  };
}
