import { describe, expect, test } from "bun:test";
import { runDoctor } from "../../src/console/doctor.ts";
import { createLife } from "../../src/console/shutdown.ts";
import {
  doctorJson,
  doctorLines,
  type Findings,
  firewallHint,
  problemsOf,
} from "../../src/console/text/doctor-lines.ts";
import type { Report } from "../../src/console/text/report.ts";
import { lookAtFolder } from "../../src/content/folder-state.ts";
import type { PeerEvent } from "../../src/peer.ts";
import { fault, isFault } from "../../src/protocol/fault.ts";
import { temporaryFolder } from "../support/folders.ts";

const ID = `${"A".repeat(51)}Q`;
const SEEN = { ip: "203.0.113.7", port: 8776 };
const WELL: Findings = {
  version: "0.1.0",
  system: "linux x64",
  server: { address: { ip: "192.168.0.10", port: 1099 }, how: "network", name: "sala", id: ID },
  id: ID,
  joined: { address: { ip: "192.168.0.11", port: 8776 }, reached: true, ms: 3 },
  own: { ip: "192.168.0.11", port: 8776 },
  through: undefined,
  folder: { path: "videos", state: { files: 2, freeBytes: 5e9, isWritable: true } },
  now: new Date("2026-11-24T12:00:00Z"),
};
const codesOf = (changes: Partial<Findings>): string[] => problemsOf({ ...WELL, ...changes }).map(({ code }) => code);

describe("the page of doctor", () => {
  test("says how the server was found, its key, both addresses, the folder and the clock", () => {
    const lines = doctorLines(WELL);
    expect(lines).toContain("servidor  192.168.0.10:1099 (sala), achado na rede");
    expect(lines).toContain("endereço  192.168.0.11, o mesmo que o servidor vê");
    expect(lines).toContain("alcance   outros peers conectam a 192.168.0.11:8776");
    expect(lines).toContain("pasta     videos: 2 arquivos, 5,0 GB livres");
    expect(lines.at(-1)).toBe("tudo certo");
    expect(lines.join("\n")).toContain("AAAA-AAAA");
    expect(JSON.parse(doctorJson(WELL))).toMatchObject({ event: "doctor", ok: true, reached: true, problems: [] });
  });

  const WRONG: [string, Partial<Findings>, string[]][] = [
    ["no answer", { joined: fault("SERVER_UNREACHABLE", "network") }, ["SERVER_UNREACHABLE"]],
    ["a closed port", { joined: { address: SEEN, reached: false, ms: 1 } }, ["UNREACHABLE"]],
    [
      "a folder that is not there",
      { folder: { path: "x", state: fault("FOLDER_MISSING", "disk") } },
      ["FOLDER_MISSING"],
    ],
    ["a full disk", { folder: { path: "x", state: { files: 0, freeBytes: 1e6, isWritable: true } } }, ["DISK_FULL"]],
    [
      "a folder to read",
      { folder: { path: "x", state: { files: 0, freeBytes: 1e10, isWritable: false } } },
      ["FOLDER_DENIED"],
    ],
    ["a clock of 1970", { now: new Date(0) }, ["CLOCK_WRONG"]],
  ];
  test.each(WRONG)("names %s by its code, with what to do next", (_, changes, codes) => {
    expect(codesOf(changes)).toEqual(codes);
    const page = doctorLines({ ...WELL, ...changes });
    expect(page.filter((line) => line.startsWith("!! "))).toHaveLength(codes.length);
    expect(page).not.toContain("tudo certo");
    expect(JSON.parse(doctorJson({ ...WELL, ...changes }))).toMatchObject({
      ok: false,
      problems: [{ code: codes[0] }],
    });
  });

  test("tells a router from a firewall, and one router from a second", () => {
    const joined = { address: SEEN, reached: false, ms: 1 };
    const hint = (changes: Partial<Findings>) => problemsOf({ ...WELL, joined, ...changes })[0]?.hint ?? "";
    expect(hint({})).toContain("redirecione nele a porta 8776 para 192.168.0.11");
    expect(hint({ own: SEEN })).toBe(firewallHint(8776));
    expect(hint({ through: { by: "UPnP", router: "192.168.0.1", port: 8776 } })).toContain(
      "outro roteador ou firewall",
    );
    const hints = ["win32", "darwin", "linux"].map((platform) => firewallHint(8776, platform));
    expect(new Set(hints).size).toBe(3);
  });
});

describe("doctor", () => {
  const run = async (events: PeerEvent[], reached: boolean) => {
    let out = "";
    let listener = (_: PeerEvent): void => {};
    const code = await runDoctor({
      peer: {
        localIp: async () => "192.168.0.11",
        freePort: ({ port }) => port + 1,
        async join(at) {
          expect(at).toEqual({ host: undefined, port: 8777, folder: undefined });
          for (const event of events) queueMicrotask(() => listener(event));
          return { address: SEEN, reached, names: [] };
        },
      },
      life: createLife(),
      report: { working() {}, settled() {} } as unknown as Report,
      output: {
        out(text) {
          out += text;
        },
      },
      config: { host: undefined, port: undefined, json: true },
      known: { version: "0", system: "x", server: { ...WELL.server, id: undefined }, id: ID },
      folder: { path: "videos", look: async () => ({ files: 0, freeBytes: 1e12, isWritable: true }) },
      hear: (hear) => {
        listener = hear;
      },
    });
    return { code, page: JSON.parse(out) };
  };

  test("ends with 0 where others come in through the router, and names the server's key", async () => {
    const through = { by: "UPnP" as const, router: "192.168.0.1", port: 9000 };
    const address = { ...SEEN, port: 9000 };
    const { code, page } = await run(
      [
        { type: "server-met", id: ID },
        { type: "reach", reached: true, address, through },
      ],
      false,
    );
    expect(code).toBe(0);
    expect(page).toMatchObject({ reached: true, seen: address, through, server: { id: ID } });
  });

  test("ends with 1 as soon as no router gives a port", async () => {
    const { code, page } = await run([{ type: "unmapped" }], false);
    expect(code).toBe(1);
    expect(page).toMatchObject({ reached: false, problems: [{ code: "UNREACHABLE" }] });
  });

  test("looks at a folder without changing it", async () => {
    using temporary = temporaryFolder("doctor");
    const state = await lookAtFolder(temporary.sub("videos", { "a.mp4": "a" }));
    expect(state).toMatchObject({ files: 1, isWritable: true });
    expect(isFault(state) ? 0 : state.freeBytes).toBeGreaterThan(0);
    expect(await lookAtFolder(`${temporary.path}/none`)).toMatchObject({ fault: "FOLDER_MISSING" });
  });
});
