// What UPnP says between a program and its router: the search, the description, and the calls that map a port.
// Invariant: every text that is read here was bounded before, and is read once, from left to right; an address in it
// counts only where it is the router's own.
// Never: sends anything, or follows what a text points at beyond the router.

import { parsePort } from "../protocol/address.ts";

export const SSDP_GROUP = "239.255.255.250";
export const SSDP_PORT = 1900;

/** Services that map ports; a router has one of them or more, in any order. */
const SERVICES = ["WANIPConnection:2", "WANIPConnection:1", "WANPPPConnection:1"].map(
  (name) => `urn:schemas-upnp-org:service:${name}`,
);
/** More services than any router describes. */
const SERVICES_READ_MAX = 64;
const PATH_CHARACTERS_MAX = 1024;

/** A page of the router. */
export type Place = { readonly port: number; readonly path: string };
export type Service = Place & { readonly type: string };

export const searchText = (device: string): string =>
  [
    "M-SEARCH * HTTP/1.1",
    `HOST: ${SSDP_GROUP}:${SSDP_PORT}`,
    'MAN: "ssdp:discover"',
    "MX: 1",
    `ST: urn:schemas-upnp-org:device:${device}`,
    "",
    "",
  ].join("\r\n");

/** Devices that are asked for: the router's own names for itself. */
export const SEARCHED_DEVICES = ["InternetGatewayDevice:1", "InternetGatewayDevice:2"] as const;

/** Where the answer to a search says that the description is; undefined where that is not at the router. */
export function descriptionIn(answer: string, router: string): Place | undefined {
  if (!answer.startsWith("HTTP/1.1 200")) return undefined;
  const line = answer.split("\r\n").find((one) => /^location:/i.test(one));
  return line === undefined ? undefined : placeOf(line.slice("location:".length).trim(), router);
}

/** `http://ROUTER[:PORT]/path`, or, seen from `base`, a path; nothing else. */
export function placeOf(text: string, router: string, base?: Place): Place | undefined {
  if (text.length > PATH_CHARACTERS_MAX || /[^\x21-\x7e]/.test(text)) return undefined;
  if (base !== undefined && !/^[a-z]+:/i.test(text) && !text.startsWith("//")) {
    return { port: base.port, path: text.startsWith("/") ? text : `/${text}` };
  }
  const [, host = "", digits = "80", path = ""] = /^http:\/\/([\d.]+)(?::(\d{1,5}))?(\/.*)?$/i.exec(text) ?? [];
  const port = parsePort(digits);
  return host === router && port !== undefined ? { port, path: path || "/" } : undefined;
}

/** The service of a description that maps ports, the best of those that there are. */
export function serviceIn(description: string, router: string, at: Place): Service | undefined {
  const found = description
    .split("<service>", SERVICES_READ_MAX)
    .slice(1)
    .flatMap((block) => {
      const type = between(block, "<serviceType>", "</serviceType>");
      const url = between(block, "<controlURL>", "</controlURL>");
      const place = url === undefined ? undefined : placeOf(url, router, at);
      return type !== undefined && SERVICES.includes(type) && place !== undefined ? [{ ...place, type }] : [];
    });
  return found.sort((a, b) => SERVICES.indexOf(a.type) - SERVICES.indexOf(b.type))[0];
}

function between(text: string, open: string, close: string): string | undefined {
  const start = text.indexOf(open);
  const end = start < 0 ? -1 : text.indexOf(close, start);
  return end < 0 ? undefined : text.slice(start + open.length, end).trim();
}

export type Mapping = {
  /** At the router. */
  readonly port: number;
  /** Here. */
  readonly to: number;
  readonly ip: string;
  /** 0 for ever, where a router takes nothing else. */
  readonly seconds: number;
};

export const addCall = (service: string, { port, to, ip, seconds }: Mapping): string =>
  call(service, "AddPortMapping", [
    ...mappingKey(port),
    ["NewInternalPort", to],
    ["NewInternalClient", ip],
    ["NewEnabled", 1],
    ["NewPortMappingDescription", "napster"],
    ["NewLeaseDuration", seconds],
  ]);

export const deleteCall = (service: string, port: number): string =>
  call(service, "DeletePortMapping", mappingKey(port));

const mappingKey = (port: number): [string, string | number][] => [
  ["NewRemoteHost", ""],
  ["NewExternalPort", port],
  ["NewProtocol", "TCP"],
];

/** The header that names a call, beside its text. */
export const actionHeader = (service: string, text: string): string =>
  `"${service}#${between(text, "<u:", " xmlns") ?? ""}"`;

function call(service: string, action: string, values: readonly (readonly [string, string | number])[]): string {
  const body = values.map(([name, value]) => `<${name}>${value}</${name}>`).join("");
  return [
    '<?xml version="1.0"?>',
    '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"',
    ' s:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body>',
    `<u:${action} xmlns:u="${service}">${body}</u:${action}></s:Body></s:Envelope>`,
  ].join("");
}

/** Why a router refused: UPnP's number; undefined where the text has none. */
export function refusalIn(text: string): number | undefined {
  const digits = between(text, "<errorCode>", "</errorCode>") ?? "";
  return /^\d{1,4}$/.test(digits) ? Number(digits) : undefined;
}

/** The port at the router leads elsewhere already. */
export const CONFLICTS: ReadonlySet<number | undefined> = new Set([718, 729]);
/** It maps for ever or not at all. */
export const ONLY_PERMANENT = 725;
