// The peer's console on a real pseudo-terminal, with a stand-in for the network: what a person sees, and what stays.

import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";
import { createRandom } from "../simulation/random.ts";
import { KEY, openTerminal, type TerminalSession } from "../support/terminal.ts";
import { until } from "../support/until.ts";

setDefaultTimeout(60_000);

const COMMAND = [process.execPath, join(import.meta.dir, "../support/console.ts")];
const JOINED = "Sou peer 127.0.0.1:8776 com arquivos aula1.mp4 aula 2.mp4";
const FOUND = "peers com arquivo solicitado: 127.0.0.1:8777";
const MENU = "O que fazer?";

/** Opened and in raw mode: what is typed before that is echoed by the system. */
async function open(options: Parameters<typeof openTerminal>[1] = {}): Promise<TerminalSession> {
  const session = openTerminal(COMMAND, options);
  await session.shows(MENU);
  return session;
}

async function leave(session: TerminalSession): Promise<string[]> {
  await session.shows(MENU);
  session.press(KEY.interrupt);
  expect(await session.exit()).toBe(0);
  return session.screen();
}

describe.skipIf(process.platform === "win32")("a person at a terminal", () => {
  test("a person at a terminal leaves only dictated lines on the screen, whatever was asked on the way", async () => {
    await using session = await open();
    session.press(KEY.enter);
    await session.shows("IP deste peer (Enter = 127.0.0.1)");
    session.press("999", KEY.enter);
    await session.shows("quatro números de 0 a 255");
    session.press("\x15", KEY.enter);
    await session.shows("Porta deste peer (Enter = 8776)");
    session.press(KEY.enter);
    await session.shows("Pasta dos arquivos (Enter = .)");
    session.press("x".repeat(200), KEY.enter);
    await session.shows(/não existe ou não é uma\s+pasta/);
    session.press("\x15", KEY.enter);
    await session.shows(JOINED);
    expect(await leave(session)).toEqual([JOINED]);
  });

  test("a person at a terminal confirms a home folder, or a drive's root, by the same answer again", async () => {
    await using session = await open();
    session.press(KEY.enter, KEY.enter, KEY.enter);
    await session.shows("Pasta dos arquivos (Enter = .)");
    session.press("..", KEY.enter);
    await session.shows("Enter de novo confirma");
    expect(session.screen().join("\n")).not.toContain("Sou peer");
    session.press(KEY.enter);
    await session.shows("[PORT_IN_USE]");
  });

  test("a person at a terminal is offered the better answer also when it left a refused JOIN and comes back", async () => {
    await using session = await open();
    session.press("JOIN\r192.0.2.1\r8779\r.\r");
    await session.shows("IP deste peer (Enter = 192.0.2.7)");
    session.press(KEY.escape);
    await session.shows(MENU);
    session.press("JOIN\r");
    await session.shows("IP deste peer (Enter = 192.0.2.7)");
    session.press("\r\r\r");
    await session.shows("Sou peer 192.0.2.7:8779");
  });

  test("a person at a terminal may type or paste ahead, with any newline", async () => {
    await using session = await open();
    session.press("JOIN\n\n\r\n.\rsearch\r", "lento.mp4\rDOWNLOAD\r\r\r");
    await session.shows(/ 41% +500 MB de 1,2 GB/);
    session.press("isto é ignorado", KEY.interrupt);
    await session.shows("[CANCELLED]");
    session.press("s", KEY.enter);
    await session.shows("Nome do arquivo");
    session.press(KEY.escape);
    await session.shows(MENU);
    session.press("search", KEY.enter, "aula.mp4", KEY.enter, KEY.enter, KEY.enter, KEY.enter);
    await session.shows("baixado");
    expect(await leave(session)).toEqual([
      JOINED,
      FOUND,
      "aviso: o download foi cancelado: lento.mp4 [CANCELLED]; repita o mesmo",
      "DOWNLOAD: ele continua de onde parou",
      FOUND,
      "Arquivo aula.mp4 baixado com sucesso na pasta videos",
    ]);
  });

  test("a person at a terminal leaves with Ctrl+C from any question, and only leaves the command with Esc", async () => {
    for (const [keys, question] of [
      ["JOIN\r", "IP deste peer"],
      ["JOIN\r\r", "Porta deste peer"],
      ["JOIN\r\r\r\rSEARCH\r", "Nome do arquivo"],
      ["JOIN\r\r\r\rSEARCH\raula.mp4\rDOWNLOAD\r", "IP do peer"],
    ] as const) {
      await using session = await open();
      session.press(keys);
      await session.shows(question);
      session.press(KEY.escape);
      await session.shows(MENU);
      session.press(
        ...(keys.startsWith("JOIN\r\r\r\r") ? [keys.slice(keys.lastIndexOf("\r", keys.length - 2) + 1)] : [keys]),
      );
      await session.shows(question);
      session.press(KEY.interrupt);
      expect(await session.exit()).toBe(0);
    }
  });

  test("a person at a terminal watches what is downloaded by the key P, which types nothing into the next question", async () => {
    await using session = await open();
    session.press("JOIN\r\r\r\rSEARCH\rlento.mp4\rDOWNLOAD\r\r\r");
    await session.shows("P assiste");
    session.press("p");
    await session.shows(/lento\.mp4 em http:\/\/127\.0\.0\.1:1\/token\/lento\.mp4 \[PLAYING\]/);
    session.press(KEY.interrupt);
    await session.shows("[CANCELLED]");
    await leave(session);
  });

  test("a person at a terminal leaves a download running with Esc, and its line comes above whatever is asked by then", async () => {
    await using session = await open();
    session.press("JOIN\r\r\r\rSEARCH\rdepois.mp4\rDOWNLOAD\r\r\r");
    await session.shows(/ 41% +500 MB de 1,2 GB/);
    session.press(KEY.escape);
    await session.shows(MENU);
    await session.shows("2 arquivos · baixando 1, 41% · Ctrl+C sai");
    session.press("SEARCH\r");
    await session.shows("Nome do arquivo");
    session.press("aula.mp4\r");
    await session.shows("Arquivo depois.mp4 baixado");
    await session.shows(/3 arquivos · Ctrl\+C sai/);
    session.press("DOWNLOAD\r\r\r");
    await session.shows("Arquivo aula.mp4 baixado");
    expect(await leave(session)).toEqual([
      JOINED,
      FOUND,
      FOUND,
      "Arquivo depois.mp4 baixado com sucesso na pasta videos",
      "Arquivo aula.mp4 baixado com sucesso na pasta videos",
    ]);
  });

  test("a person at a terminal takes up a download that goes on by DOWNLOAD of the same file, and cancels it there with Ctrl+C", async () => {
    await using session = await open();
    session.press("JOIN\r\r\r\rSEARCH\rlento.mp4\rDOWNLOAD\r\r\r");
    await session.shows(/ 41% +500 MB de 1,2 GB/);
    session.press(KEY.escape);
    await session.shows("baixando 1, 41%");
    session.press("DOWNLOAD\r\r\r");
    await session.shows(/Esc volta ao menu · Ctrl\+C cancela/);
    session.press(KEY.interrupt);
    await session.shows("[CANCELLED]");
    expect((await leave(session)).slice(2)).toEqual([
      "aviso: o download foi cancelado: lento.mp4 [CANCELLED]; repita o mesmo",
      "DOWNLOAD: ele continua de onde parou",
    ]);
  });

  test("a person at a terminal sees the position in a peer's queue, the latest one, until Ctrl+C gives it up", async () => {
    await using session = await open();
    session.press("JOIN\r\r\r\rSEARCH\rfila.mp4\rDOWNLOAD\r\r\r");
    await session.shows(
      /na fila de 127\.0\.0\.1:8777, posição 1\n127\.0\.0\.1:8776 · 2 arquivos · P assiste · Esc volta ao menu · Ctrl\+C cancela/,
    );
    session.press(KEY.interrupt);
    await session.shows("[CANCELLED]");
    expect((await leave(session)).slice(2)).toEqual([
      "aviso: o download foi cancelado: fila.mp4 [CANCELLED]; repita o mesmo DOWNLOAD:",
      "ele continua de onde parou",
    ]);
  });

  test("a person at a terminal sees nothing left over when the screen scrolls, on a small window, or with lines that wrap", async () => {
    await using session = await open({ columns: 40, rows: 8 });
    const expected = ["Sou peer 127.0.0.1:8776 com arquivos aul", "a1.mp4 aula 2.mp4"];
    session.press("JOIN\r\r\r\r");
    for (let turn = 0; turn < 6; turn++) {
      session.press("SEARCH\r", "nada".repeat(30), ".mp4", KEY.enter);
      expected.push("peers com arquivo solicitado:");
    }
    await session.shows(new RegExp(`${expected.slice(2).join("\\s+")}\\s+.*${MENU.slice(0, -1)}`));
    expect(await leave(session)).toEqual(expected);
  });

  test.each(["wrap", "cut"] as const)(
    "may change the window at any moment, in a terminal whose rows %s",
    async (how) => {
      const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
      const random = createRandom(seed);
      await using session = await open();
      let size = { columns: 80, rows: 24 };
      const resize = async (columns: number, rows: number): Promise<void> => {
        if (columns === size.columns && rows === size.rows) return;
        const before = session.raw().length;
        size = { columns, rows };
        session.resize(columns, rows, how);
        // Some sizes live for less than a redraw.
        if (random.next() < 0.7) await until("a redraw", () => session.raw().length > before);
      };
      const shake = async (times: number): Promise<void> => {
        for (let count = 0; count < times; count++) await resize(20 + random.int(0, 180), 6 + random.int(0, 45));
        await resize(79, 24);
        await resize(80, 24);
      };
      session.press("JOIN\r");
      await session.shows("IP deste peer");
      await shake(20);
      session.press("\r\r\rSEARCH\r");
      await session.shows("Nome do arquivo");
      await shake(20);
      session.press("corre.mp4\rDOWNLOAD\r\r\r");
      await session.shows(/%/);
      await shake(60);
      session.press(KEY.interrupt);
      await session.shows("[CANCELLED]");
      await session.shows(MENU);
      await shake(20);
      await leave(session);
      // A terminal that cuts rows has lost what was cut: that is its own.
      const begins = [
        JOINED,
        FOUND,
        "aviso: o download foi",
        "repita o mesmo DOWNL",
        "DOWNLOAD: ele contin",
        "ele continua de onde",
      ].map((line) => line.slice(0, 20));
      const left = session.paragraphs();
      for (const line of left)
        expect(
          begins.some((begin) => line.startsWith(begin.slice(0, line.length))),
          `seed ${seed}:\n${left.join("\n")}`,
        ).toBe(true);
      expect(left.length, `seed ${seed}:\n${left.join("\n")}`).toBeLessThan(6);
    },
  );

  test("a person at a terminal may be sent to the background at a question, in the menu and at the bar, and comes back whole", async () => {
    await using shell = openTerminal(["bash", "--norc", "-i"], {
      env: { PS1: "$ ", BASH_SILENCE_DEPRECATION_WARNING: "1" },
    });
    await shell.shows("$");
    shell.press(`${COMMAND.map((word) => `'${word}'`).join(" ")}${KEY.enter}`);
    await shell.shows(MENU);
    const away = async (question: string | RegExp): Promise<void> => {
      const stops = shell.raw().split("Stopped").length;
      shell.press(KEY.suspend);
      await until(
        "the shell",
        () => shell.raw().split("Stopped").length > stops,
        15,
        () => shell.screen().join("\n"),
      );
      await shell.endsWith(/^\$$/);
      shell.press(`stty -a | tr ' ;' '\\n\\n' | grep -x -- '-*icanon'${KEY.enter}`);
      await shell.shows(/^icanon\n\$$/m);
      expect(shell.screen().join("\n")).not.toMatch(question);
      shell.press(`clear; fg${KEY.enter}`);
      await shell.shows(question);
    };
    await away(/SEARCH/);
    shell.press("JOIN\r");
    await shell.shows("IP deste peer");
    shell.press("127.0.0.");
    await away("127.0.0.");
    shell.press("1\r\r\rSEARCH\rcorre.mp4\rDOWNLOAD\r\r\r");
    await shell.shows(/%/);
    await away(/%/);
    shell.press(KEY.interrupt);
    await shell.shows("[CANCELLED]");
    await shell.shows(MENU);
    shell.press(KEY.interrupt);
    await shell.endsWith(/^\$$/);
    // As written: where the shell's line with our path wraps depends on where this project lies.
    expect(shell.paragraphs().filter((line) => !/^(?:\$|\[1\]|icanon|stty|')/.test(line))).toEqual([
      "aviso: o download foi cancelado: corre.mp4 [CANCELLED]; repita o mesmo",
      "DOWNLOAD: ele continua de onde parou",
    ]);
    shell.press(`exit${KEY.enter}`);
    await shell.exit();
  });

  test("a person at a terminal may be stopped without a word, and draws anew what the terminal may have lost meanwhile", async () => {
    await using session = await open();
    const before = session.raw().length;
    process.kill(session.pid, "SIGSTOP");
    process.kill(session.pid, "SIGCONT");
    await until("a redraw", () => session.raw().slice(before).includes("O que fazer?"));
    expect(await leave(session)).toEqual([]);
  });

  test("a person at a terminal sees the row of a command go at Ctrl+C, whatever the terminal has echoed into it", async () => {
    for (const typed of ["", "abc"]) {
      await using session = openTerminal(COMMAND, { env: { GET: "corre.mp4" } });
      await session.shows(/%/);
      session.press(typed, KEY.interrupt);
      expect(await session.exit()).toBe(0);
      expect(session.screen()).toEqual([
        "aviso: o download foi cancelado: corre.mp4 [CANCELLED]; repita o mesmo",
        "DOWNLOAD: ele continua de onde parou",
      ]);
      expect(session.raw()).toContain("^C");
    }
  });

  test("a person at a terminal reads an error above the question that is being asked", async () => {
    await using session = await open();
    session.press("JOIN\r\r\r\rSEARCH\rcai.mp4\r");
    await session.shows(FOUND);
    expect(await leave(session)).toEqual([
      JOINED,
      "erro: a conexão com o servidor 127.0.0.1:1099 caiu [SERVER_GONE]",
      "dica: o peer volta à rede sozinho assim que o servidor voltar",
      FOUND,
    ]);
  });

  test("a person at a terminal is asked only for the port again when it is taken, the next free one being the default", async () => {
    await using session = await open();
    session.press("JOIN\r127.0.0.2\r\r/\r");
    await session.shows("[PORT_IN_USE]");
    await session.shows("Porta deste peer (Enter = 8778)");
    session.press("\r");
    await session.shows("Sou peer 127.0.0.2:8778");
    session.press("JOIN\r");
    await session.shows("IP deste peer (Enter = 127.0.0.2)");
    session.press("\r");
    await session.shows("Porta deste peer (Enter = 8778)");
    session.press("\r");
    await session.shows("Pasta dos arquivos (Enter = /)");
    session.press(KEY.escape);
    expect((await leave(session)).length).toBe(3);
  });

  test("a person at a terminal loses no answer to a JOIN that was refused", async () => {
    await using session = await open();
    session.press("JOIN\r192.0.2.1\r8000\r/\r");
    await session.shows("[ADDRESS_MISMATCH]");
    await session.shows("IP deste peer (Enter = 192.0.2.7)");
    session.press("\r");
    await session.shows("Sou peer 192.0.2.7:8000");
    session.press("JOIN\r\r9999\r.\r");
    await session.shows("[SERVER_UNREACHABLE]");
    await session.shows(MENU);
    session.press("JOIN\r\r");
    await session.shows("Porta deste peer (Enter = 9999)");
    session.press("8001\r");
    await session.shows("Pasta dos arquivos (Enter = .)");
    session.press("\r");
    await session.shows("Sou peer 192.0.2.7:8001");
    await leave(session);
  });

  test("a person at a terminal goes from JOIN to SEARCH to DOWNLOAD by Enter alone, and each question names its file", async () => {
    await using session = await open();
    session.press("\r\r\r\r");
    await session.shows(/[●>] SEARCH\n/);
    session.press("\rnada.mp4\r");
    await session.shows(/solicitado:\n[\s\S]*[●>] SEARCH\n/);
    session.press("\raula.mp4\r");
    await session.shows(/[●>] DOWNLOAD\n/);
    session.press("\r");
    await session.shows("DOWNLOAD de aula.mp4: IP do peer (Enter = 127.0.0.1)");
    session.press("\r");
    await session.shows("DOWNLOAD de aula.mp4: porta do peer (Enter = 8777)");
    session.press("\r");
    await session.shows(/baixado[\s\S]*[●>] SEARCH\n/);
    expect((await leave(session)).length).toBe(4);
  });

  test("a person at a terminal sees how to leave and to go back, and how the peer stands, in a quiet line that goes with the rest", async () => {
    await using session = await open();
    await session.endsWith(/^Ctrl\+C sai$/);
    session.press("JOIN\r");
    await session.endsWith(/^Esc volta · Ctrl\+C sai$/);
    session.press("\r\r\r");
    await session.endsWith(/^127\.0\.0\.1:8776 · 2 arquivos · Ctrl\+C sai$/);
    session.press("SEARCH\rcai.mp4\r");
    await session.endsWith(/^127\.0\.0\.1:8776 · sem servidor, voltando · Ctrl\+C sai$/);
    session.press("sair\r");
    expect(await session.exit()).toBe(0);
    expect(session.screen().length).toBe(4);
  });

  test("a person at a terminal leaves with a word at the menu and at a question that it cannot answer", async () => {
    for (const keys of ["q\r", "JOIN\rsair\r", "JOIN\r\rexit\r", "JOIN\rvoltar\rajuda\rquit\r"]) {
      await using session = await open();
      session.press(keys);
      expect(await session.exit()).toBe(0);
      expect(session.screen()).toEqual([]);
    }
  });

  test("a person at a terminal is told when the server is back", async () => {
    await using session = await open();
    session.press("JOIN\r\r\r\rSEARCH\rcai e volta.mp4\r");
    await session.shows(FOUND);
    expect(await leave(session)).toEqual([
      JOINED,
      "erro: a conexão com o servidor 127.0.0.1:1099 caiu [SERVER_GONE]",
      "dica: o peer volta à rede sozinho assim que o servidor voltar",
      "aviso: de volta à rede, em 127.0.0.1:8776 [SERVER_BACK]",
      FOUND,
    ]);
  });

  test("a person at a terminal reads ASCII signs where the console has no others", async () => {
    await using session = await open({ env: { TERM: "linux" } });
    await session.shows("DOWNLOAD");
    expect(session.screen()).toEqual(["*  O que fazer?", "> JOIN", "  SEARCH", "  DOWNLOAD", "Ctrl+C sai"]);
    session.press("JOIN\r127");
    await session.shows(/^127_$/m);
    session.press(KEY.escape);
    await leave(session);
  });

  test("a person at a terminal has one row for everything, and no escape sequence in it, on a terminal that knows none", async () => {
    await using session = await open({ env: { TERM: "dumb" } });
    session.press("JOIN\r300.1", KEY.enter);
    await session.shows(/^300\.1█ {2}o IP deve ter quatro números de 0 a 255/m);
    expect(session.screen()).toHaveLength(1);
    session.press("\x15", "127.0.0.9\x7f1", KEY.enter, "\r\rSEARCH\rcorre.mp4\r\r\r\r");
    await session.shows(/%/);
    expect(session.screen()).toHaveLength(3);
    session.press(KEY.interrupt);
    await session.shows("[CANCELLED]");
    expect(await leave(session)).toEqual([
      JOINED,
      FOUND,
      "aviso: o download foi cancelado: corre.mp4 [CANCELLED]; repita o mesmo",
      "DOWNLOAD: ele continua de onde parou",
    ]);
    expect(session.raw()).not.toContain("\x1b");
  });

  test("a person at a terminal sees nothing left over in a window of one row", async () => {
    await using session = await open({ columns: 60, rows: 1 });
    session.press("JOIN\r300.1", KEY.enter);
    await session.shows(/^300\.1█/m);
    session.press("\x15", "\r\r\rSEARCH\rcorre.mp4\r\r\r\r");
    await session.shows(/%/);
    session.press(KEY.interrupt);
    await session.shows("[CANCELLED]");
    expect(await leave(session)).toEqual([
      JOINED,
      FOUND,
      "aviso: o download foi cancelado: corre.mp4 [CANCELLED];",
      "repita o mesmo DOWNLOAD: ele continua de onde parou",
    ]);
  });

  test("a person at a terminal may paste thousands of lines, of which each is an answer or is told once, and nothing of them stays", async () => {
    await using session = await open();
    session.press("JOIN\r\r\r\r", "xyz\r".repeat(500), "SEARCH\raula.mp4\r");
    await session.shows(FOUND);
    expect(await leave(session)).toEqual([JOINED, FOUND]);
  });

  test("a person at a terminal is told of a bug in one line", async () => {
    await using session = await open();
    session.press("JOIN\r\r6666\r\r");
    expect(await session.exit()).toBe(1);
    expect(session.screen()).toEqual([
      "erro: falha interna do programa: Error: defeito em duas linhas [INTERNAL]",
      "dica: tente de novo; se continuar, relate o defeito com esta linha",
    ]);
  });

  test.each(["SIGTERM", "SIGHUP"] as const)("%s at a question leaves cleanly", async (signal) => {
    await using session = await open({ env: { TELL_LEAVE: "1" } });
    session.press("JOIN\r");
    await session.shows("IP deste peer");
    process.kill(session.pid, signal);
    expect(await session.exit()).toBe(0);
    expect(session.screen()).toEqual(["saiu"]);
    expect(session.raw().lastIndexOf("\x1b[?25h")).toBeGreaterThan(session.raw().lastIndexOf("\x1b[?25l"));
  });
});
