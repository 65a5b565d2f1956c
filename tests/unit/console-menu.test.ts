import { describe, expect, test } from "bun:test";
import { type ActionContext, type PeerApi, type Policy, showSkipped } from "../../src/console/actions.ts";
import { runTask, type Task } from "../../src/console/commands.ts";
import { createFollower } from "../../src/console/follower.ts";
import { createJsonLog, createLog } from "../../src/console/log.ts";
import { askServer, runMenu } from "../../src/console/menu.ts";
import { createLife } from "../../src/console/shutdown.ts";
import type { Output } from "../../src/console/terminal/output.ts";
import { createPipedAsker, readLines } from "../../src/console/terminal/questions.ts";
import { createScreen } from "../../src/console/terminal/screen.ts";
import { createJsonReport, createReport } from "../../src/console/text/report.ts";
import type { Waiting } from "../../src/download/progress.ts";
import { createDownloads } from "../../src/peer/downloads.ts";
import type { FoundWords } from "../../src/peer/find.ts";
import type { DownloadRequest } from "../../src/peer/requests.ts";
import { type Address, formatAddress } from "../../src/protocol/address.ts";
import { type Fault, type FaultCode, fault, LOCAL_CODES, WIRE_CODES } from "../../src/protocol/fault.ts";
import { createVirtualClock } from "../support/clock.ts";

const SERVER = { ip: "127.0.0.1", port: 1099 };
const SOURCE = { ip: "127.0.0.1", port: 8777 };

async function* input(text: string): AsyncGenerator<Uint8Array> {
  yield new TextEncoder().encode(text);
}

type World = {
  json?: boolean;
  sources?: Address[];
  faults?: Partial<Record<string, FaultCode>>;
  errIsTerminal?: boolean;
  /** What is downloaded was there. */
  isHere?: boolean;
  contents?: FoundWords;
  /** By which this machine reaches the server. */
  localIp?: string;
  /** How much time has passed between two looks at the clock. */
  msPerLook?: number;
  /** What a download goes through before it ends. */
  during?: (options: DownloadRequest) => Fault | undefined;
  /** Whether the system finds a program for playlists. */
  hasPlayer?: boolean;
};
const ADDRESS = `http://127.0.0.1:4000/${"0".repeat(32)}/x.mp4`;
/** The folder that the menu offers. */
const OFFERED = "vídeos/napster";
const POLICY: Policy = { only: true, maxWaitSeconds: 7 };

/** The console around a peer that does what `world` says, and notes what it is asked. */
function open(world: World = {}) {
  const { json = false, sources = [SOURCE], faults = {}, errIsTerminal = false, msPerLook = 1000, during } = world;
  const {
    localIp = "127.0.0.1",
    isHere = false,
    contents = { found: [], more: 0, isCut: false },
    hasPlayer = true,
  } = world;
  const said: { out: string[]; err: string[] } = { out: [], err: [] };
  const asked: string[] = [];
  const joins: unknown[] = [];
  let time = 0;
  const output: Output = {
    out: (text) => void said.out.push(text),
    err: (text) => void said.err.push(text),
    outParts() {},
    ready: async () => {},
    flush: async () => {},
  };
  const parts = {
    output,
    screen: createScreen(output.err, { size: () => ({ columns: 80, rows: 24 }) }),
    columns: () => 80,
    watched: false,
    errIsTerminal,
    // Unless the test says otherwise every event is due.
    now: () => (time += msPerLook),
  };
  const life = createLife();
  let lastSearched: string | undefined;
  const peer: PeerApi = {
    localIp: async () => localIp,
    async join({ host = localIp, port, folder, listing = "now", sharing = "folder" }) {
      asked.push(`join ${host}:${port} ${folder ?? "(no folder)"}`);
      joins.push({ listing, sharing });
      if (faults.join) return { ...fault(faults.join, "ours"), at: { ip: host, port: port || 9000 } };
      return { address: { ip: host, port: port || 9000 }, reached: true, names: ["a.mp4"] };
    },
    freePort: ({ port }) => port,
    async search(name) {
      asked.push(`search ${name}`);
      if (faults.search) return fault(faults.search, "network");
      lastSearched = name;
      return sources;
    },
    downloads: createDownloads({
      env: { clock: createVirtualClock(), random: () => 1 },
      self: () => undefined,
      async locate(name) {
        asked.push(`search ${name}`);
        return faults.search ? fault(faults.search, "network") : sources;
      },
      wish: async () => undefined,
      unwish() {},
      async fetch(from, options) {
        const { onProgress, signal, only, maxWaitSeconds, name } = options;
        expect({ only, maxWaitSeconds }).toEqual(POLICY);
        const where = formatAddress(from);
        asked.push(`download ${where}`);
        options.onAsk?.(from);
        onProgress?.({ bytes: 1, size: 2, rate: 1, sources: 1 });
        const ended = during?.(options);
        if (ended !== undefined) return ended;
        const code = faults[where];
        if (code === "CANCELLED") {
          const cancelled = Promise.withResolvers<ReturnType<typeof fault>>();
          signal?.addEventListener("abort", () => cancelled.resolve(fault("CANCELLED", "ours")));
          return cancelled.promise;
        }
        return code ? fault(code, "theirs") : { name, folder: "pasta", bytes: 2, isHere };
      },
    }),
    find: async () => contents,
    async play(name) {
      asked.push(`play ${name}`);
      const code = asked.some((line) => line.startsWith("download"))
        ? faults.play
        : isHere
          ? undefined
          : "FILE_MISSING";
      return code ? fault(code, "ours") : ADDRESS;
    },
    async playedOut(name) {
      asked.push(`playedOut ${name}`);
    },
    leave: async () => {},
    get lastSearched() {
      return lastSearched;
    },
  };
  const report = (json ? createJsonReport : createReport)(parts);
  const openPlayer = async (name: string, address: string) => {
    asked.push(`open ${name} ${address}`);
    return hasPlayer;
  };
  const follower = (of: "menu" | "get") => createFollower({ peer, report, server: SERVER, of });
  const session = {
    peer,
    report,
    follower: follower("get"),
    life,
    server: SERVER,
    policy: POLICY,
    isWide: (folder: string) => folder === "~",
    openPlayer,
  };
  return {
    session,
    follower,
    life,
    output,
    report,
    asked,
    joins,
    out: () => said.out.join(""),
    err: () => said.err.join(""),
  };
}

async function menu(text: string, world?: World, given = {}, changes: Partial<ActionContext> = {}) {
  const opened = open(world);
  const asker = createPipedAsker(readLines(input(text)), (said) => opened.output.err(`${said}\n`));
  const folderFault = (folder: string) => (folder === "nada" ? fault("FOLDER_MISSING", "disk") : undefined);
  const isWell = await runMenu({
    ...opened.session,
    ...changes,
    follower: opened.follower("menu"),
    asker,
    given,
    ready: async () => {},
    folderFault,
    defaultFolder: OFFERED,
  });
  const codes = [...opened.err().matchAll(/^erro: .* \[(\w+)\]$/gm)].map(([, code]) => code);
  return { ...opened, codes, isWell };
}

describe("the menu", () => {
  test("that only receives shares nothing at any JOIN, and need not be found", async () => {
    const { joins } = await menu("JOIN\n\n\n.\nJOIN\n\n\n.\n", {}, {}, { receivesOnly: true });
    const nothing = { listing: "never", sharing: "nothing" };
    expect(joins).toEqual([nothing, nothing]);
  });

  test("looks for a server again before the JOIN that follows one that did not reach it", async () => {
    const seen: string[] = [];
    const seeker = {
      missed: () => void seen.push("missed"),
      async again() {
        seen.push("again");
        return true;
      },
    };
    const world = { faults: { join: "SERVER_UNREACHABLE" } } as const;
    await menu("JOIN\n\n\n.\nJOIN\n\n\n.\n", world, {}, { seeker });
    expect(seen).toEqual(["again", "missed", "again", "missed"]);
  });

  test("asks JOIN for IP, port and folder, SEARCH for the name, DOWNLOAD for IP and port (SPEC 5.i, 6)", async () => {
    const { asked, out, err } = await menu("JOIN\n127.0.0.1\n8776\n.\nSEARCH\nx.mp4\nDOWNLOAD\n127.0.0.1\n8777\n");
    expect(asked).toEqual(["join 127.0.0.1:8776 .", "search x.mp4", "download 127.0.0.1:8777"]);
    expect(out()).toBe(
      "Sou peer 127.0.0.1:8776 com arquivos a.mp4\n" +
        "peers com arquivo solicitado: 127.0.0.1:8777\n" +
        "Arquivo x.mp4 baixado com sucesso na pasta pasta\n",
    );
    expect(err()).toBe("pronto 127.0.0.1:8776\n");
  });

  test("takes defaults for empty answers: DOWNLOAD's is the first source that is not this peer", async () => {
    const own = { ip: "127.0.0.1", port: 8776 };
    const { asked } = await menu("join\n\n\n\nsearch\nx.mp4\ndownload\n\n\n", { sources: [own, SOURCE] });
    expect(asked).toEqual([`join 127.0.0.1:8776 ${OFFERED}`, "search x.mp4", "download 127.0.0.1:8777"]);
  });

  test("offers the IP by which this machine reaches the server, and names it when another one is refused", async () => {
    const world = { localIp: "192.168.50.11", faults: { join: "ADDRESS_MISMATCH" } } as const;
    const { asked, err } = await menu("JOIN\n\n\n\nJOIN\n127.0.0.1\n\n\n", world);
    expect(asked).toEqual([`join 192.168.50.11:8776 ${OFFERED}`, `join 127.0.0.1:8776 ${OFFERED}`]);
    const [behindRouter, another] = err()
      .split("\n")
      .filter((line) => line.startsWith("dica: "));
    expect(behindRouter).toBe("dica: use o IP 0.0.0.0: vale o endereço que o servidor vê");
    expect(another).toBe("dica: use o IP 192.168.50.11, com que esta máquina chega ao servidor");
  });

  test("refuses a folder that cannot be used, and takes the quotes off one that CMD.EXE put there", async () => {
    const { asked, codes } = await menu('JOIN\n\n\nnada\n"c:\\com espaço"\n');
    expect([codes, asked]).toEqual([["FOLDER_MISSING"], ["join 127.0.0.1:8776 c:\\com espaço"]]);
  });

  test.each(["'c:\\com espaço'", "  c:\\com espaço  ", 'c:\\com espaço"', '" c:\\com espaço "'])(
    "takes off what a shell, or a hand, puts around a folder: %p",
    async (typed) => {
      expect((await menu(`JOIN\n\n\n${typed}\n`)).asked).toEqual(["join 127.0.0.1:8776 c:\\com espaço"]);
    },
  );

  test("says of a home folder or a drive's root that all of it is shared, before it is", async () => {
    const { asked, err } = await menu("JOIN\n\n\n~\n");
    expect(asked).toEqual(["join 127.0.0.1:8776 ~"]);
    expect(err()).toMatch(/^aviso: a pasta ~ .* \[WIDE_FOLDER\]; .*\npronto /);
  });

  test("is well only when each of its commands was", async () => {
    const JOIN = "JOIN\n\n\n\n";
    const wells = async (text: string, world?: World) => (await menu(text, world)).isWell;
    expect(await wells(`${JOIN}SEARCH\nx.mp4\nDOWNLOAD\n\n\n`)).toBe(true);
    expect(await wells(`${JOIN}SEARCH\n*\nx.mp4\n`)).toBe(true);
    expect(await wells("")).toBe(true);
    expect(await wells(JOIN, { faults: { join: "SERVER_UNREACHABLE" } })).toBe(false);
    expect(await wells(`${JOIN}SEARCH\nx.mp4\nSEARCH\ny.mp4\n`, { faults: { search: "SERVER_GONE" } })).toBe(false);
    expect(await wells(`${JOIN}SEARCH\nx.mp4\nDOWNLOAD\n\n\n`, { faults: { "127.0.0.1:8777": "BUSY" } })).toBe(false);
    expect(await wells(`SEARCH\nx.mp4\n${JOIN}`)).toBe(false);
    expect(await wells("JOIN\n\n")).toBe(false);
    expect(await wells(`${JOIN}SERCH\n`)).toBe(false);
  });

  test("does not ask what a flag has answered", async () => {
    const { asked } = await menu("JOIN\nSEARCH\nx.mp4\n", {}, { host: "10.0.0.1", port: 0, folder: "d" });
    expect(asked).toEqual(["join 10.0.0.1:0 d", "search x.mp4"]);
  });

  test("tells a command out of turn once, and goes on", async () => {
    const { codes, asked } = await menu("DOWNLOAD\n1.2.3.4\n80\nSEARCH\nx.mp4\nJOIN\n\n\n\nDOWNLOAD\n1.2.3.4\n80\n");
    expect(codes).toEqual(["NOT_JOINED", "NOT_JOINED", "NOT_SEARCHED"]);
    expect(asked).toEqual([`join 127.0.0.1:8776 ${OFFERED}`]);
  });

  test("goes on after a failed JOIN, and does not take the peer for joined", async () => {
    const { codes } = await menu("JOIN\n\n\n\nSEARCH\nx.mp4\n", { faults: { join: "SERVER_UNREACHABLE" } });
    expect(codes).toEqual(["SERVER_UNREACHABLE", "NOT_JOINED"]);
  });

  test("says why a peer rejected", async () => {
    const { err, codes } = await menu("JOIN\n\n\n\nSEARCH\nx.mp4\nDOWNLOAD\n\n\n", {
      faults: { "127.0.0.1:8777": "REFUSED" },
    });
    expect(codes).toEqual(["REFUSED"]);
    expect(err()).toContain("erro: o peer 127.0.0.1:8777 rejeitou o download");
  });

  test("tells a script that ends in the middle of a command", async () => {
    const { codes, asked } = await menu("JOIN\n127.0.0.1\n");
    expect([codes, asked]).toEqual([["USAGE"], []]);
  });

  test("Ctrl+C cancels the download under way; the next one leaves", async () => {
    const opened = open({ faults: { "127.0.0.1:8777": "CANCELLED" } });
    const lines = ["JOIN", "", "", "", "SEARCH", "x.mp4", "DOWNLOAD", "", ""];
    const menuAgain = Promise.withResolvers<void>();
    const source: AsyncIterator<string> = {
      async next() {
        const value = lines.shift();
        if (value !== undefined) return { done: false, value };
        menuAgain.resolve();
        return new Promise<never>(() => {});
      },
    };
    const asker = createPipedAsker(source, (said) => opened.output.err(`${said}\n`));
    opened.life.leaving.addEventListener("abort", asker.close);
    opened.session.peer.downloads.subscribe(({ type }) => {
      if (type === "progress") setImmediate(opened.life.interrupt);
    });
    const parts = { asker, given: {}, ready: async () => {}, folderFault: () => undefined, defaultFolder: OFFERED };
    const running = runMenu({ ...opened.session, follower: opened.follower("menu"), ...parts });
    await menuAgain.promise;
    expect(opened.err()).toContain("[CANCELLED]");
    expect(opened.life.leaving.aborted).toBe(false);
    opened.life.interrupt();
    await running;
  });
});

describe("the server's questions (SPEC 4.e)", () => {
  async function ask(text: string, taken: readonly number[] = [], given = {}) {
    const { report, output, err } = open();
    const tried: string[] = [];
    const listen = (ip: string, port: number) => {
      tried.push(`${ip}:${port}`);
      return taken.includes(port) ? fault("PORT_IN_USE", "ours") : { ip, port };
    };
    const { ask } = createPipedAsker(readLines(input(text)), (said) => output.err(`${said}\n`));
    return { result: await askServer({ ask, given, fallback: SERVER, report, listen }), tried, err };
  }

  test("default to 127.0.0.1 and 1099, also at the end of the input", async () => {
    expect((await ask("\n\n")).result).toEqual(SERVER);
    expect((await ask("")).result).toEqual(SERVER);
    expect((await ask("127.0.0.2\n")).result).toEqual({ ip: "127.0.0.2", port: 1099 });
  });

  test("are asked again when the port is taken, and given up when the input has ended", async () => {
    const again = await ask("\n\n127.0.0.1\n1100\n", [1099]);
    expect([again.result, again.tried]).toEqual([
      { ip: "127.0.0.1", port: 1100 },
      ["127.0.0.1:1099", "127.0.0.1:1100"],
    ]);
    expect(again.err()).toStartWith("erro: a porta 1099 já está em uso em 127.0.0.1 [PORT_IN_USE]\ndica: ");
    expect((await ask("\n\n", [1099])).result).toEqual({ stop: "end" });
    expect((await ask("x")).result).toEqual({ stop: "refused-end" });
  });

  test("are not asked where a flag has answered, nor again when both flags have", async () => {
    expect((await ask("1100\n", [], { host: "0.0.0.0" })).result).toEqual({ ip: "0.0.0.0", port: 1100 });
    expect(await ask("\n\n", [1099], SERVER_FLAGS)).toMatchObject({
      tried: ["127.0.0.1:1099"],
      result: { stop: "refused-end" },
    });
  });
  const SERVER_FLAGS = { host: "127.0.0.1", port: 1099 };
});

describe("subcommands", () => {
  const where = { host: undefined, port: undefined };
  const get: Task = { ...where, command: "get", names: ["x.mp4"], folder: "d", from: undefined, sharing: "downloads" };
  const SECOND = { ip: "127.0.0.1", port: 8778 };

  async function run(task: Task, world?: World) {
    const opened = open(world);
    return { ...opened, code: await runTask(opened.session, task) };
  }

  test("get joins, searches, downloads and ends with 0", async () => {
    const { code, asked } = await run(get);
    expect([code, asked]).toEqual([0, ["join 127.0.0.1:0 d", "search x.mp4", "download 127.0.0.1:8777"]]);
  });

  test("get shares what it downloads, with --share the whole folder, and with --no-share nothing and is not listed", async () => {
    const join = async (sharing: "folder" | "downloads" | "nothing") => (await run({ ...get, sharing })).joins;
    expect(await join("downloads")).toEqual([{ listing: "later", sharing: "downloads" }]);
    expect(await join("folder")).toEqual([{ listing: "later", sharing: "folder" }]);
    expect(await join("nothing")).toEqual([{ listing: "never", sharing: "nothing" }]);
  });

  test("get downloads several files, each once, and its code is that of the one that went worst", async () => {
    const names = ["a.mp4", "b.mp4", "a.mp4", "c.mp4"];
    const all = await run({ ...get, names });
    expect([all.code, all.asked]).toEqual([
      0,
      [
        "join 127.0.0.1:0 d",
        ...["a", "b", "c"].map((x) => `search ${x}.mp4`),
        ...Array<string>(3).fill("download 127.0.0.1:8777"),
      ],
    ]);
    const ends = async (...codes: (FaultCode | undefined)[]) => {
      let turn = 0;
      const during = () => {
        const code = codes[turn++];
        return code && fault(code, "theirs");
      };
      const ended = await run({ ...get, names: codes.map((_, at) => `${at}.mp4`) }, { during });
      return [ended.code, turn];
    };
    expect(await ends("FILE_EXISTS", undefined)).toEqual([5, 2]);
    expect(await ends("FILE_EXISTS", "BUSY", undefined)).toEqual([4, 3]);
    expect(await ends(undefined, "PEER_GONE", "BUSY")).toEqual([1, 3]);
    expect(await ends("CANCELLED", undefined)).toEqual([1, 2]);
    const none = await run({ ...get, names: ["a.mp4", "b\u0007.mp4"] });
    expect([none.code, none.asked]).toEqual([2, []]);
  });

  test("get of what is here with the same content ends with 0, and says so beside the dictated lines", async () => {
    const isHere: World = { during: () => undefined, isHere: true };
    const { code, out, err } = await run(get, isHere);
    expect(code).toBe(0);
    expect(out()).not.toContain("baixado");
    expect(err()).toContain("aviso: o arquivo x.mp4 já está na pasta pasta, com o mesmo conteúdo [HERE]\n");
    const json = await run(get, { ...isHere, json: true });
    expect(json.out()).toContain('{"event":"here","name":"x.mp4","folder":"pasta","bytes":2}\n');
  });

  test.each(["***", "...", " "])(
    "find %p is a usage mistake that says what is missing, told before anything is joined",
    async (words) => {
      const { code, asked, err } = await run({ ...where, command: "find", words, limit: 1 });
      expect([code, asked, err()]).toEqual([2, [], expect.stringMatching(/^erro: .*nenhuma letra.*\[USAGE\]\ndica: /)]);
    },
  );

  test("a file where a folder is wanted, and a host without an address, are named", () => {
    const { report, err } = open();
    report.failed({ ...fault("FOLDER_MISSING", "disk"), cause: "is-a-file" }, { folder: "a.mp4" });
    report.failed(fault("HOST_UNKNOWN", "network"), { name: "meu-pc" });
    expect(err()).toContain("erro: a.mp4 é um arquivo, e não uma pasta [FOLDER_MISSING]\n");
    expect(err()).toContain("erro: nenhuma máquina com o nome meu-pc foi encontrada [HOST_UNKNOWN]\n");
  });

  test("search and find say their answer and nothing of the JOIN that it takes; find says how many more there are", async () => {
    const search = await run({ ...where, command: "search", name: "x.mp4" });
    expect([search.out(), search.err()]).toEqual(["peers com arquivo solicitado: 127.0.0.1:8777\n", ""]);
    const some = { found: [{ name: "a.mp4", size: 3, root: undefined, sources: 2 }], more: 7, isCut: false };
    const find = await run({ ...where, command: "find", words: "a", limit: 1 }, { contents: some });
    expect([find.code, find.out()]).toEqual([0, "2\t3\ta.mp4\n"]);
    expect(find.err()).toMatch(/^aviso: há mais 7 conteúdos \[MORE\]; .*--limit 8/);
    const json = await run({ ...where, command: "find", words: "a", limit: 1 }, { contents: some, json: true });
    expect(JSON.parse(json.out())).toMatchObject({ event: "contents", more: 7, isCut: false });
  });

  test("get asks the first source, notes of each that failed why, and fails with the reason and address of the last", async () => {
    const during: World["during"] = ({ onFailed, onAsk }) => {
      onFailed?.(SOURCE, fault("BUSY", "theirs"));
      onAsk?.(SECOND);
      return fault("NOT_SHARED", "theirs");
    };
    const { code, asked, err } = await run(get, { sources: [SOURCE, SECOND], during });
    expect([code, asked.slice(2)]).toEqual([4, ["download 127.0.0.1:8777"]]);
    expect(err()).toMatch(
      /\naviso: [^\n]*127\.0\.0\.1:8777[^\n]* \[BUSY\]; [^\n]*\nerro: [^\n]*8778[^\n]* \[NOT_SHARED\]\n/,
    );
  });

  test.each([
    ["BUSY", 4],
    ["REFUSED", 4],
    ["NOT_SHARED", 4],
    ["PEER_GONE", 1],
    ["FILE_EXISTS", 5],
  ] as const)("get ends after %s with %d", async (code, exit) => {
    expect((await run(get, { faults: { "127.0.0.1:8777": code } })).code).toBe(exit);
  });

  test("get and search end with 3 when no peer has the file, and get --from asks that peer all the same", async () => {
    expect((await run(get, { sources: [] })).code).toBe(3);
    const search = await run({ ...where, command: "search", name: "x.mp4" }, { sources: [] });
    expect([search.code, search.out()]).toEqual([3, expect.stringContaining("peers com arquivo solicitado:\n")]);
    expect((await run({ ...get, from: SECOND }, { sources: [] })).asked.at(-1)).toBe("download 127.0.0.1:8778");
  });

  test("a JOIN that the server refuses names the port that the system chose, not the 0 that was asked for", async () => {
    const { code, err } = await run(get, { faults: { join: "ADDRESS_TAKEN" } });
    expect([code, err()]).toEqual([1, expect.stringMatching(/^erro: .* 127\.0\.0\.1:9000 \[ADDRESS_TAKEN\]\n/)]);
  });

  test("a command that ends does not promise to come back", async () => {
    const { code, err } = await run(get, { faults: { search: "SERVER_GONE" } });
    expect([code, err().match(/\[SERVER_GONE\]/g)?.length]).toEqual([1, 1]);
    expect(err()).not.toContain("sozinho");
  });

  test("a name that cannot be one is a usage mistake, told before anything is joined", async () => {
    const { code, asked, err } = await run({ ...where, command: "search", name: "a\u0007b" });
    expect([code, asked, err()]).toEqual([2, [], expect.stringMatching(/^erro: .* \[BAD_NAME\]\ndica: /)]);
  });

  test("search joins with no folder: there is nothing to share", async () => {
    const { asked } = await run({ ...where, command: "search", name: "x.mp4" });
    expect(asked).toEqual(["join 127.0.0.1:0 (no folder)", "search x.mp4"]);
  });

  test("share goes on until it is to leave, and ends with 0", async () => {
    const opened = open();
    const running = runTask(opened.session, { ...where, command: "share", folder: "d" });
    opened.life.leave();
    expect(await running).toBe(0);
  });

  test("--json tells each event as one object, and the error on stderr too", async () => {
    const { out, err } = await run(get, { json: true, faults: { "127.0.0.1:8777": "BUSY" } });
    const events = out()
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as unknown);
    expect(events).toEqual([
      { event: "joined", ip: "127.0.0.1", port: 9000, files: ["a.mp4"] },
      { event: "found", name: "x.mp4", peers: ["127.0.0.1:8777"] },
      { event: "progress", name: "x.mp4", bytes: 1, size: 2, rate: 1, sources: 1 },
      { event: "error", code: "BUSY", message: expect.any(String), hint: expect.any(String), name: "x.mp4" },
    ]);
    expect(err()).toMatch(/^pronto 127\.0\.0\.1:9000\nerro: .* \[BUSY\]\ndica: .*\n$/);
  });
});

test("a download that something else than the menu started has its line told, once", async () => {
  const { session, follower, out } = open();
  const menu = follower("menu");
  await session.peer.downloads.start({ name: "página.mp4", from: SOURCE, others: [], only: true, maxWaitSeconds: 7 });
  await menu.start({ name: "x.mp4", from: SOURCE, others: [], only: true, maxWaitSeconds: 7 }, "pasta");
  expect(out()).toBe(
    "Arquivo página.mp4 baixado com sucesso na pasta pasta\nArquivo x.mp4 baixado com sucesso na pasta pasta\n",
  );
});

describe("a file that is played", () => {
  const where = { host: undefined, port: undefined };
  const play = {
    ...where,
    command: "get" as const,
    names: ["x.mp4", "y.mp4"],
    folder: "d",
    from: undefined,
    sharing: "downloads" as const,
    isPlayed: true,
  };

  async function run(world?: World, task: Task = play) {
    const opened = open(world);
    return { ...opened, code: await runTask(opened.session, task) };
  }

  test("is opened while it arrives, only the first of several, and the program stays for its player", async () => {
    const { code, asked, err } = await run();
    expect(code).toBe(0);
    const played = asked.filter((line) => /^(?:open|play|download)/.test(line));
    const download = "download 127.0.0.1:8777";
    expect(played.filter((line) => line !== "play x.mp4")).toEqual([
      download,
      download,
      `open x.mp4 ${ADDRESS}`,
      "playedOut x.mp4",
    ]);
    expect(err()).toContain(`aviso: x.mp4 em ${ADDRESS} [PLAYING]; o player foi aberto\n`);
  });

  test("has its address told where no player is found, to programs too", async () => {
    expect((await run({ hasPlayer: false })).err()).toContain(`${ADDRESS} [PLAYING]; abra este endereço`);
    const events = (await run({ json: true, hasPlayer: false }))
      .out()
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(events).toContainEqual({ event: "playing", name: "x.mp4", address: ADDRESS, opened: false });
  });

  test("that is in the folder is watched as it is: no peer is asked", async () => {
    const { code, asked } = await run({ isHere: true }, { ...play, names: ["x.mp4"] });
    expect(code).toBe(0);
    expect(asked).toEqual(["join 127.0.0.1:0 d", "play x.mp4", `open x.mp4 ${ADDRESS}`, "playedOut x.mp4"]);
  });

  test("that cannot be downloaded fails as any other", async () => {
    const { code, err } = await run({ faults: { play: "PEER_GONE", "127.0.0.1:8777": "BUSY" } });
    expect(code).toBe(4);
    expect(err()).not.toContain("PLAYING");
  });
});

describe("on the way of a download", () => {
  const where = { host: undefined, port: undefined };
  const get: Task = { ...where, command: "get", names: ["x.mp4"], folder: "d", from: undefined, sharing: "downloads" };
  const LIAR = { ip: "127.0.0.1", port: 8779 };
  const at = (waiting: Waiting | undefined, rate = 0) => ({ bytes: 1, size: 2, rate, sources: 1, waiting });
  const place = (position: number) => at({ for: "slot", from: SOURCE, position });
  const QUEUE: World["during"] = ({ onProgress }) => {
    for (const position of [2, 2, 1, 1]) onProgress?.(place(position));
    return undefined;
  };
  const events = (out: string) =>
    out
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as { event: string });

  test("each new position in the queue is one line of stderr, where stderr is no terminal", async () => {
    const opened = open({ during: QUEUE });
    expect(await runTask(opened.session, get)).toBe(0);
    expect(opened.err()).toBe(
      "pronto 127.0.0.1:9000\nna fila de 127.0.0.1:8777, posição 2\nna fila de 127.0.0.1:8777, posição 1\n",
    );
    const atTerminal = open({ during: QUEUE, errIsTerminal: true });
    await runTask(atTerminal.session, get);
    expect(atTerminal.err()).toBe("");
  });

  test.each([false, true])("positions that come in a flood are not all told (--json: %p)", (json) => {
    const { report, out, err } = open({ json, msPerLook: 1 });
    for (let i = 0; i < 10_000; i++) report.progress("x.mp4", place(1 + (i % 9)));
    const lines = (json ? out() : err()).split("\n").length;
    expect(lines).toBeGreaterThan(10);
    expect(lines).toBeLessThan(200);
  });

  test("why nothing moves is told where no bar is drawn, once, and again when it stops again", async () => {
    const full = at({ for: "disk", full: true });
    const during: World["during"] = ({ onProgress }) => {
      for (const progress of [full, full, at(undefined, 9), full, at({ for: "data", from: SOURCE })])
        onProgress?.(progress);
      return undefined;
    };
    const opened = open({ during });
    await runTask(opened.session, get);
    const disk = "disco cheio, esperando espaço";
    expect(opened.err()).toBe(`pronto 127.0.0.1:9000\n${disk}\n${disk}\nsem dados de 127.0.0.1:8777\n`);
  });

  test("a new wait at the same position is news again", async () => {
    const opened = open({ during: QUEUE, faults: { "127.0.0.1:8777": "BUSY" } });
    expect(await runTask(opened.session, get)).toBe(4);
    expect(await runTask(opened.session, get)).toBe(4);
    expect(opened.err().match(/posição 2$/gm)?.length).toBe(2);
  });

  test("--json tells the queue, what is waited for, and whole numbers", async () => {
    const opened = open({
      json: true,
      during(options) {
        QUEUE?.(options);
        options.onProgress?.({ ...at({ for: "data", from: SOURCE }, 1.7), etaSeconds: 2.1 });
        return undefined;
      },
    });
    await runTask(opened.session, get);
    const told = events(opened.out()).filter(({ event }) => event === "queued" || event === "progress");
    const name = "x.mp4";
    const from = "127.0.0.1:8777";
    expect<unknown[]>(told).toEqual([
      expect.objectContaining({ event: "progress", bytes: 1 }),
      { event: "queued", name, from, position: 2 },
      { event: "queued", name, from, position: 1 },
      {
        event: "progress",
        name,
        bytes: 1,
        size: 2,
        sources: 1,
        rate: 2,
        etaSeconds: 3,
        waiting: { for: "data", from },
      },
      { event: "progress", name, bytes: 2, size: 2, sources: 1, rate: 2 },
    ]);
    expect(opened.err()).not.toContain("na fila");
  });

  test("--json tells last what is final, however little time has passed since what was told before", async () => {
    const moves: World["during"] = ({ onProgress }) => {
      for (const bytes of [0, 1, 2]) onProgress?.({ bytes, size: 2, rate: 1, sources: 1 });
      return undefined;
    };
    const stops: World["during"] = ({ onProgress }) => {
      onProgress?.({ bytes: 2, size: 4, rate: 1, sources: 1 });
      return fault("DISK_FULL", "disk");
    };
    for (const [during, last] of [
      [moves, 2],
      [stops, 2],
      [() => undefined, 2],
    ] as const) {
      const opened = open({ json: true, during, msPerLook: 1 });
      await runTask(opened.session, get);
      const told = events(opened.out()).filter(({ event }) => event === "progress");
      expect(told.at(-1)).toMatchObject({ bytes: last });
    }
  });

  test("--json calls a download that was cancelled on purpose no error", async () => {
    const opened = open({ json: true, during: () => fault("CANCELLED", "ours") });
    expect(await runTask(opened.session, get)).toBe(1);
    expect<unknown>(events(opened.out()).at(-1)).toEqual({ event: "cancelled", name: "x.mp4" });
    expect(opened.err()).toMatch(/^aviso: o download foi cancelado: x\.mp4 \[CANCELLED\]; /m);
    expect(opened.err()).not.toContain("erro:");
  });

  test("a source that lies is named in one warning, one that leaves only to programs", async () => {
    const during: World["during"] = ({ onSourceLost }) => {
      onSourceLost?.(SOURCE, fault("PEER_GONE", "network"));
      onSourceLost?.(LIAR, fault("CORRUPT", "theirs"));
      onSourceLost?.(LIAR, fault("CORRUPT", "theirs"));
      return undefined;
    };
    const opened = open({ json: true, during });
    expect(await runTask(opened.session, get)).toBe(0);
    expect(opened.err().match(/^aviso: .*$/gm)).toEqual([
      "aviso: o peer 127.0.0.1:8779 enviou dados errados, que foram descartados [CORRUPT]",
    ]);
    expect<unknown[]>(events(opened.out()).filter(({ event }) => event === "source-lost")).toEqual([
      { event: "source-lost", from: "127.0.0.1:8777", code: "PEER_GONE" },
      { event: "source-lost", from: "127.0.0.1:8779", code: "CORRUPT" },
      { event: "source-lost", from: "127.0.0.1:8779", code: "CORRUPT" },
    ]);
  });

  test("a download that another source than the chosen one ended names that source", async () => {
    const during: World["during"] = ({ onSourceLost }) => {
      const lie = fault("CORRUPT", "theirs");
      onSourceLost?.(LIAR, lie);
      return lie;
    };
    const opened = open({ during });
    expect(await runTask(opened.session, get)).toBe(1);
    expect(opened.err()).toContain("erro: os dados que o peer 127.0.0.1:8779 enviou");
  });

  test("--json tells what is hashed and uploaded, and people are spared it", () => {
    for (const json of [true, false]) {
      const { report, out, err } = open({ json });
      report.hashed("x.mp4", "ab");
      report.uploaded("x.mp4", SOURCE, 5);
      expect(err()).toBe("");
      if (!json) expect(out()).toBe("");
      else
        expect<unknown[]>(events(out())).toEqual([
          { event: "hashed", name: "x.mp4", root: "ab" },
          { event: "uploaded", name: "x.mp4", to: "127.0.0.1:8777", bytes: 5 },
        ]);
    }
  });
});

test("a folder of unusable names does not bury the screen, and says how many there are", () => {
  const { report, err } = open();
  showSkipped(report, [
    { name: "pasta", reason: "not-a-file" },
    { name: "x.mp4.part", reason: "ours" },
    ...Array.from({ length: 100 }, (_, index) => ({ name: `a\u001b${index}`, reason: "control" as const })),
  ]);
  expect(
    err().match(/^erro: o arquivo a\\u\{1b\}\d não foi compartilhado: o nome tem caracteres de controle/gm)?.length,
  ).toBe(5);
  expect(err()).toContain("erro: mais 95 arquivos da pasta ficaram fora, também pelo nome [BAD_NAME]");
});

describe("a text from outside that steers a terminal", () => {
  const evil = "a\u001b[2J\u009b31m\u007f\u202e\u{e0041}\r\n.mp4";
  const raw = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202e]|[\u{e0000}-\u{e007f}]/u;
  const share = { name: evil, path: evil, size: 1, root: "ab", pieceBytes: 1 };

  test.each([false, true])("reaches neither output raw (--json: %p)", async (json) => {
    const { report, out, err } = open({ json });
    await report.joined(SOURCE, [evil]);
    report.found(evil, [SOURCE]);
    const found = [{ name: evil, size: 1, root: undefined, sources: 1 }];
    report.contents(evil, { found, more: 2, isCut: true });
    report.isHere({ name: evil, folder: evil, bytes: 1 });
    report.downloaded({ name: evil, folder: evil, bytes: 1 });
    report.hashed(evil, "ab");
    report.uploaded(evil, SOURCE, 1);
    report.file(share);
    report.verdict({ ...share, verdict: "damaged", pieces: [0] });
    report.lost(SOURCE, fault("CORRUPT", "theirs", evil));
    for (const code of [...WIRE_CODES, ...LOCAL_CODES])
      report.failed(fault(code, "theirs", evil), {
        name: evil,
        folder: evil,
        peer: SOURCE,
        server: SERVER,
        at: SERVER,
      });
    expect(out() + err()).not.toMatch(raw);
    if (json) expect(JSON.parse(out().split("\n")[0] ?? "")).toMatchObject({ files: [evil] });
  });

  test.each([createLog, createJsonLog])("reaches a server's log escaped: %p", (createLog) => {
    const said: string[] = [];
    const log = createLog({
      output: { err: (text) => void said.push(text) },
      tell: (text) => void said.push(text),
      errIsTerminal: true,
      now: () => new Date(0),
    });
    log.refused(evil, fault("BAD_REQUEST", "theirs", evil));
    log.failed(fault("INDEX_UNUSABLE", "network", evil));
    expect(said.join("")).not.toMatch(raw);
    expect(said.join("")).toContain("BAD_REQUEST");
  });
});

describe("a server's --verbose", () => {
  const WIRE = WIRE_CODES.filter((code) => code !== "INTERNAL");
  const PEERS: readonly FaultCode[] = ["NOT_SHARED", "BUSY", "REFUSED", "CHANGED", "BAD_RANGE", "NOT_READY"];

  test("tells the operator in one line what a client did, and gives no advice that is meant for the client", () => {
    for (const code of WIRE.filter((code) => !PEERS.includes(code))) {
      const said: string[] = [];
      const tell = (text: string) => void said.push(text);
      createLog({ output: { err: tell }, tell, errIsTerminal: true, now: () => new Date(0) }).refused(
        "192.0.2.1:5000",
        fault(code, "theirs"),
      );
      expect(said).toEqual([expect.stringMatching(new RegExp(`^192\\.0\\.2\\.1:5000: [^\\n]+ \\[${code}\\]$`))]);
      expect(said[0]).not.toMatch(/dica:|erro:|o outro lado|este peer|tente/);
    }
  });
});
