// An IPv4 address and port, parsed strictly once at the border.
// Invariant: an Address holds four decimal octets without leading zeros and a port of 0–65535.
// Never: resolves a host name.

import { type Fault, fault, isFault } from "./fault.ts";
import { type Id, isId, showId } from "./id.ts";

/** `id`: the program that is there, as far as it is known. It is no part of the address: sameAddress does not look at it. */
export type Address = { readonly ip: string; readonly port: number; readonly id?: Id | undefined };

const OCTET = "(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)";
const IPV4 = new RegExp(`^${OCTET}(?:\\.${OCTET}){3}$`);

/** True for four decimal octets, e.g. 127.0.0.1. */
export function isIp(text: string): boolean {
  return IPV4.test(text);
}

/** A port in decimal without leading zeros, `least`–65535; undefined when it is anything else. */
export function parsePort(text: string, least: 0 | 1 = 1): number | undefined {
  if (!/^(?:0|[1-9]\d{0,4})$/.test(text)) return undefined;
  const port = Number(text);
  return port >= least && port <= 65535 ? port : undefined;
}

/** `ip:port` with a port of 1–65535. */
export function parseAddress(text: string): Address | Fault {
  const colon = text.lastIndexOf(":");
  const ip = text.slice(0, colon);
  const port = parsePort(text.slice(colon + 1));
  if (colon < 0 || !isIp(ip) || port === undefined) return fault("BAD_ADDRESS", "theirs", "expected ip:port");
  return { ip, port };
}

/** The inverse of parseAddress. */
export function formatAddress(address: Address): string {
  return `${address.ip}:${address.port}`;
}

/** `ip:port`, and behind a blank the ID where it is known: a peer as lists name it. */
export const formatPeer = (address: Address): string =>
  address.id === undefined ? formatAddress(address) : `${formatAddress(address)} ${address.id}`;

/** The inverse of formatPeer. */
export function parsePeer(text: string): Address | Fault {
  const [where = "", id, ...more] = text.split(" ");
  const address = parseAddress(where);
  if (id === undefined || isFault(address)) return address;
  return isId(id) && more.length === 0 ? { ...address, id } : fault("BAD_ADDRESS", "theirs", "expected ip:port ID");
}

/** Where a server is and which one it has to be, as a person copies it: `napster://192.168.0.10:1099#ABCD-…`. */
export const formatServerUrl = (address: Address, id: Id): string =>
  `napster://${formatAddress(address)}#${showId(id)}`;

export function sameAddress(a: Address, b: Address): boolean {
  return a.ip === b.ip && a.port === b.port;
}

/** This machine, to itself. */
export const LOOPBACK = "127.0.0.1";

/** Listening there means every address of the machine; declared in a JOIN, the one that the server sees. */
export const AS_SEEN = "0.0.0.0";

/** 127.0.0.0/8, which RFC 1122 keeps inside the machine. */
export function isLoopback(ip: string): boolean {
  return ip.startsWith("127.");
}

/** RFC 1918's, those that a machine gives itself (RFC 3927), and this machine's own: no router passes them on. */
const PRIVATE: readonly Range[] = [
  { ip: "10.0.0.0", bits: 8 },
  { ip: "172.16.0.0", bits: 12 },
  { ip: "192.168.0.0", bits: 16 },
  { ip: "169.254.0.0", bits: 16 },
  { ip: "127.0.0.0", bits: 8 },
];

export function isPrivate(ip: string): boolean {
  return isIp(ip) && PRIVATE.some((range) => isIn(ip, range));
}

/** Addresses whose first `bits` are those of `ip`. */
export type Range = { readonly ip: string; readonly bits: number };

/** `a.b.c.d/n`, n from 0 to 32, whose other bits are zero: what is written is what is meant. */
export function parseRange(text: string): Range | Fault {
  const [ip = "", digits = "", ...more] = text.split("/");
  const bits = /^(?:0|[1-9]\d?)$/.test(digits) ? Number(digits) : Number.NaN;
  const range = { ip, bits };
  if (more.length > 0 || !isIp(ip) || !(bits <= 32)) return fault("BAD_ADDRESS", "theirs", "expected a.b.c.d/n");
  return numberOf(ip) % 2 ** (32 - bits) === 0 ? range : fault("BAD_ADDRESS", "theirs", "bits beyond the prefix");
}

export function isIn(ip: string, { ip: first, bits }: Range): boolean {
  const rest = 2 ** (32 - bits);
  return Math.floor(numberOf(ip) / rest) === Math.floor(numberOf(first) / rest);
}

/** The range that `ip` is in, of which all addresses have the same first `bits`. */
export function rangeOf(ip: string, bits: number): Range {
  const size = 2 ** (32 - bits);
  return { ip: ipOf(Math.floor(numberOf(ip) / size) * size), bits };
}

/** Its last address: of an interface's range the one that means all machines there. */
export const lastOf = ({ ip, bits }: Range): string => ipOf(numberOf(ip) + 2 ** (32 - bits) - 1);

const ipOf = (number: number): string => [24, 16, 8, 0].map((shift) => (number >>> shift) & 255).join(".");

const numberOf = (ip: string): number => ip.split(".").reduce((sum, octet) => sum * 256 + Number(octet), 0);
