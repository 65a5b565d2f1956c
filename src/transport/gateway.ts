// The router through which this machine reaches other networks.
// Invariant: best effort; a system that does not tell has none, and nothing is sent to find out.
// Never: says that the router can do anything.

import { dlopen, FFIType } from "bun:ffi";
import { readFileSync } from "node:fs";
import { isIp } from "../protocol/address.ts";

/** Any address of the internet: Windows is asked for the way there. */
const FAR = 0x08080808;
/** Where MIB_IPFORWARDROW has the next hop, and its size, in bytes. */
const NEXT_HOP_AT = 12;
const ROW_BYTES = 56;

/** The default gateway's IPv4; undefined where there is none or the system does not tell. */
export async function defaultGateway(): Promise<string | undefined> {
  try {
    if (process.platform === "linux") return gatewayIn(readFileSync("/proc/net/route", "utf8"));
    if (process.platform === "win32") return gatewayOfWindows();
    const route = Bun.spawn(["route", "-n", "get", "default"], { stdin: "ignore", stderr: "ignore" });
    const found = /gateway: (\S+)/.exec(await route.stdout.text())?.[1];
    return found !== undefined && isIp(found) ? found : undefined;
  } catch {
    return undefined;
  }
}

/** The gateway of the default route that Linux prefers, in the form of /proc/net/route. */
export function gatewayIn(table: string): string | undefined {
  const rows = table.split("\n").map((line) => line.trim().split(/\s+/));
  const [best] = rows
    .filter(([, to, by, flags, , , , mask]) => to === "00000000" && mask === "00000000" && hasGateway(by, flags))
    .sort((a, b) => Number(a[6]) - Number(b[6]));
  return best && ipOf(Number.parseInt(best[2] ?? "", 16));
}

/** RTF_GATEWAY: it leads through another machine. */
const hasGateway = (by = "", flags = ""): boolean =>
  /^[0-9A-F]{8}$/i.test(by) && (Number.parseInt(flags, 16) & 2) !== 0;

function gatewayOfWindows(): string | undefined {
  const { symbols } = dlopen("iphlpapi.dll", {
    GetBestRoute: { args: [FFIType.u32, FFIType.u32, FFIType.ptr], returns: FFIType.u32 },
  });
  const row = new Uint8Array(ROW_BYTES);
  if (symbols.GetBestRoute(FAR, 0, row) !== 0) return undefined;
  const hop = ipOf(new DataView(row.buffer).getUint32(NEXT_HOP_AT, true));
  return hop === "0.0.0.0" ? undefined : hop;
}

/** Both systems keep an address as it lies in memory, least byte first. */
const ipOf = (number: number): string => [0, 8, 16, 24].map((shift) => (number >>> shift) & 255).join(".");
