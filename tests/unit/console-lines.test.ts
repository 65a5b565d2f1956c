import { describe, expect, test } from "bun:test";
import { standingLine } from "../../src/console/standing.ts";
import { progressLine } from "../../src/console/terminal/progress.ts";
import { complaintOf, complaintText, nameComplaint } from "../../src/console/text/complaints.ts";
import { peerHelp, serverHelp } from "../../src/console/text/help.ts";
import {
  addedLine,
  addedLineParts,
  downloadedLine,
  foundLine,
  joinedLine,
  searchedLine,
} from "../../src/console/text/lines.ts";
import { liarNote, reachNote } from "../../src/console/text/notes.ts";
import { type FaultCode, fault, LOCAL_CODES, type Whose, WIRE_CODES } from "../../src/protocol/fault.ts";
import { showBytes, showSeconds } from "../../src/shared/amounts.ts";

const at = { ip: "127.0.0.1", port: 8776 };
const other = { ip: "127.0.0.1", port: 8777 };

describe("the dictated lines (SPEC 6)", () => {
  test("are as SPEC 6 writes them", () => {
    expect(joinedLine(at, ["aula1.mp4", "aula2.mp4"])).toBe("Sou peer 127.0.0.1:8776 com arquivos aula1.mp4 aula2.mp4");
    expect(foundLine([at, other])).toBe("peers com arquivo solicitado: 127.0.0.1:8776 127.0.0.1:8777");
    expect(downloadedLine("Aula.mp4", "c:\\temp\\peer1\\")).toBe(
      "Arquivo Aula.mp4 baixado com sucesso na pasta c:\\temp\\peer1\\",
    );
    expect(addedLine(at, ["aula1.mp4"])).toBe("Peer 127.0.0.1:8776 adicionado com arquivos aula1.mp4");
    expect(searchedLine(at, "Aula.mp4")).toBe("Peer 127.0.0.1:8776 solicitou arquivo Aula.mp4");
  });

  test("end without a space when a list is empty", () => {
    expect([joinedLine(at, []), foundLine([]), addedLine(at, [])]).toEqual([
      "Sou peer 127.0.0.1:8776 com arquivos",
      "peers com arquivo solicitado:",
      "Peer 127.0.0.1:8776 adicionado com arquivos",
    ]);
  });

  test("show the longest legal name whole, and a control character escaped", () => {
    const long = `${"á".repeat(125)}.mp4`;
    expect(searchedLine(at, long)).toEndWith(` ${long}`);
    expect(searchedLine(at, "a\u001b[2Jb")).toEndWith(" a\\u{1b}[2Jb");
  });
});

describe("complaints", () => {
  test("every code has a cause and a hint, on one line each, whatever is known about the failure", () => {
    const whole = { server: at, peer: other, at, folder: "pasta", name: "x.mp4" };
    for (const code of [...WIRE_CODES, ...LOCAL_CODES]) {
      for (const subject of [{}, whole]) {
        const text = complaintText(complaintOf(fault(code, "ours"), subject));
        expect(text).toMatch(new RegExp(`^erro: [^\\n]{8,} \\[${code}\\]\\ndica: [^\\n]{8,}$`));
        expect(text).not.toContain("undefined");
      }
    }
  });

  test("a detail from the wire is not shown", () => {
    const rejected = fault("BUSY", "theirs", "\u001b[2Jpwned");
    expect(complaintText(complaintOf(rejected, { peer: at }))).not.toContain("pwned");
  });

  test("what a peer answers is told of that peer, and a code that only a server has reason to say is not believed", () => {
    const told = (code: FaultCode, whose: Whose) => complaintOf(fault(code, whose, ""), { peer: other });
    expect(told("INTERNAL", "theirs").cause).toBe("falha interna no peer 127.0.0.1:8777");
    expect(told("INTERNAL", "ours").cause).toBe("falha interna do programa");
    for (const code of ["NOT_JOINED", "ADDRESS_TAKEN", "BAD_ADDRESS", "UNAVAILABLE"] as const)
      expect(told(code, "theirs")).toMatchObject({
        code: "BAD_REPLY",
        cause: expect.stringContaining("127.0.0.1:8777"),
      });
    expect(told("NOT_JOINED", "ours").code).toBe("NOT_JOINED");
    expect(complaintOf(fault("BUSY", "theirs"), { server: at }).code).toBe("BAD_REPLY");
    expect(complaintOf(fault("BUSY", "theirs"), { peer: at }).code).toBe("BUSY");
  });

  test("a bad name says what is wrong with it", () => {
    expect(nameComplaint("Aula 1.mp4")).toBeUndefined();
    expect(nameComplaint("../x")?.cause).toBe("o nome do arquivo tem / ou \\");
    expect(nameComplaint("")?.cause).toBe("o nome do arquivo está vazio");
    expect(nameComplaint("CON.mp4")?.cause).toBe("o nome do arquivo é reservado pelo Windows");
  });
});

test("a link where a .part belongs is blamed on the folder, not on the source", () => {
  const { cause, hint } = complaintOf(fault("PART_BLOCKED", "ours"), { peer: at, folder: "pasta", name: "x.mp4" });
  expect(cause).toContain("a pasta pasta");
  expect(`${cause} ${hint}`).not.toContain("peer");
  expect(`${cause} ${hint}`).toContain("x.mp4.part");
});

test("a name that a JOIN repeats is in its line once", () => {
  expect(addedLine(at, ["b.mp4", "a.mp4", "b.mp4"])).toBe("Peer 127.0.0.1:8776 adicionado com arquivos b.mp4 a.mp4");
});

describe("a source that lied", () => {
  test("is named in one line, and one that was only lost is not", () => {
    expect(liarNote(other, fault("CORRUPT", "theirs"))).toBe(
      "aviso: o peer 127.0.0.1:8777 enviou dados errados, que foram descartados [CORRUPT]",
    );
    expect(liarNote(other, fault("BAD_REPLY", "theirs"))).toContain("respondeu fora do protocolo");
    expect(liarNote(other, fault("PEER_GONE", "network"))).toBeUndefined();
  });
});

test("a port that others cannot connect to is told in one line, with what to do; that it is over, in one", () => {
  const note = reachNote(at, false);
  expect(note).toStartWith("aviso: outros peers não conseguem conectar a 127.0.0.1:8776, então ninguém verá");
  for (const part of ["[UNREACHABLE]", "firewall", "Permitir o acesso", "roteador", "a porta 8776", "downloads"])
    expect(note).toContain(part);
  expect(note).not.toContain("\n");
  expect(reachNote(at, true)).toEndWith("[REACHABLE]");
});

test("an interrupted download's hint says that the same one goes on where it stopped", () => {
  for (const code of ["PEER_GONE", "STALLED", "CANCELLED", "DISK_FULL"] as const)
    expect(complaintOf(fault(code, "network"), { peer: at }).hint).toContain("DOWNLOAD: ele continua de onde parou");
});

describe("progress", () => {
  const progress = { bytes: 5e8, size: 1.2e9, rate: 1.05e8, etaSeconds: 6.2, sources: 1 };

  test("shows bar, part, rate and what is left", () => {
    expect(progressLine(progress, 80)).toBe("[#####---------]  41%   500 MB de 1,2 GB   105 MB/s  falta 7 s");
  });

  test("keeps each text in its columns while all of them change", () => {
    for (const columns of [30, 50, 60, 80, 100, 200]) {
      const seen = new Set<string>();
      for (const bytes of [0, 999, 99_949, 1e6, 9.99e7, 1.2e9])
        for (const [rate, etaSeconds] of [
          [0, undefined],
          [97_400, 3599],
          [9.9e8, 1],
        ] as const) {
          const line = progressLine({ bytes, size: 1.2e9, rate, etaSeconds, sources: 1 }, columns);
          seen.add([line.indexOf("]"), line.indexOf("%"), line.indexOf(" de "), line.indexOf("/s")].join(" "));
        }
      expect([...seen]).toHaveLength(1);
    }
  });

  test("names the source that sends nothing", () => {
    expect(
      progressLine({ ...progress, waiting: { for: "data", from: { ip: "127.0.0.1", port: 8776 } } }, 80),
    ).toContain("sem dados de 127.0.0.1:8776");
  });

  test("tells the position in the queue", () => {
    const queued = { ...progress, waiting: { for: "slot", from: at, position: 3 } } as const;
    expect(progressLine(queued, 80)).toBe("na fila de 127.0.0.1:8776, posição 3");
    expect(progressLine(queued, 20).length).toBeLessThan(20);
  });

  test("stays within every width, at every size", () => {
    for (const columns of [10, 20, 40, 60, 80, 200]) {
      for (const [bytes, size] of [
        [0, 0],
        [0, 1],
        [1, 1],
        [999_999, 1e6],
        [9e15, 9.007e15],
      ] as const) {
        for (const etaSeconds of [undefined, 0, 59.5, 3601, 1e7]) {
          const line = progressLine({ bytes, size, rate: 9.9e11, etaSeconds, sources: 1 }, columns);
          expect(Bun.stringWidth(line)).toBeLessThan(columns);
          expect(line).toMatch(/^[\x20-\x7e]*$/);
        }
      }
    }
  });

  test("counts in powers of ten with a decimal comma", () => {
    expect([0, 999, 1000, 99_949, 99_950, 999_500, 1e9, 1.5e12].map((bytes) => showBytes(bytes))).toEqual([
      "0 B",
      "999 B",
      "1,0 kB",
      "99,9 kB",
      "100 kB",
      "1,0 MB",
      "1,0 GB",
      "1,5 TB",
    ]);
    expect([0, 0.2, 59, 59.1, 61, 3600, 7325].map(showSeconds)).toEqual([
      "0 s",
      "1 s",
      "59 s",
      "1 min 0 s",
      "1 min 1 s",
      "1 h 0 min",
      "2 h 2 min",
    ]);
  });
});

test("--help fits 80 columns", () => {
  const lines = `${peerHelp("")}${serverHelp("")}`.split("\n");
  expect(lines.filter((line) => line.length > 80)).toEqual([]);
});

test("how a peer stands takes one short line, and none before the first JOIN", () => {
  const address = { ip: "10.0.0.7", port: 8776 };
  const hashing = { files: 1, filesTotal: 4, bytes: 59, bytesTotal: 100 };
  expect(standingLine({ hashing })).toBe("");
  expect(standingLine({ address, files: 1 })).toBe("10.0.0.7:8776 · 1 arquivo");
  expect(standingLine({ address, away: true })).toBe("10.0.0.7:8776 · sem servidor, voltando");
  expect(standingLine({ address, files: 4, hashing })).toBe("10.0.0.7:8776 · 4 arquivos · calculando 2 de 4, 59%");
  expect(standingLine({ address, files: 4, hashing: { ...hashing, files: 4 } })).toBe("10.0.0.7:8776 · 4 arquivos");
  expect(standingLine({ address, hashing: { files: 0, filesTotal: 1, bytes: 0, bytesTotal: 0 } })).toEndWith(
    "1 de 1, 0%",
  );
});

test("the line of a JOIN is the same in parts, however many names it has", () => {
  const at = { ip: "127.0.0.1", port: 8776 };
  const many = Array.from({ length: 5000 }, (_, i) => `aula ${i % 3000} ${"x".repeat(i % 200)}.mp4`);
  for (const names of [[], ["a.mp4"], ["a.mp4", "b.mp4", "a.mp4"], many]) {
    const line = ["Peer 127.0.0.1:8776 adicionado com arquivos", ...new Set(names)].join(" ");
    expect(addedLine(at, names)).toBe(line);
    const parts = [...addedLineParts(at, names)];
    expect(parts.join("")).toBe(line);
    expect(Math.max(...parts.map(({ length }) => length))).toBeLessThan(9000);
  }
});

test("no set of the names that a JOIN's line has told grows large: growing copies the whole of it at once", () => {
  const { add } = Set.prototype;
  let largest = 0;
  Set.prototype.add = function (value) {
    largest = Math.max(largest, this.size);
    return add.call(this, value);
  };
  try {
    const names = Array.from({ length: 50_000 }, (_, i) => `aula ${i}.mp4`);
    for (const part of addedLineParts({ ip: "127.0.0.1", port: 8776 }, names)) expect(part).not.toBe("");
  } finally {
    Set.prototype.add = add;
  }
  expect(largest).toBeGreaterThan(1);
  expect(largest).toBeLessThan(512);
});
