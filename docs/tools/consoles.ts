// Records docs/consoles.svg: `bun docs/tools/consoles.ts`. Builds the executables, runs a server and three peers in
// pseudo-terminals of 80 columns, types what a person would type, and draws the four screens as they are at the end.
// Needs Linux or macOS, and ffmpeg for the video; the ports 1099 and 8776–8778 must be free.

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { openNative } from "../../tests/support/napster.ts";
import { KEY, openTerminal, type TerminalSession } from "../../tests/support/terminal.ts";
import { makeVideo } from "../../tests/support/video.ts";

const TARGET = join(import.meta.dir, "..", "consoles.svg");
const COLUMNS = 80;
const SERVER = "127.0.0.1:1099";
const DOWNLOAD_SECONDS_MAX = 120;

type Pane = { readonly title: string; readonly lines: readonly string[] };

/** Types each answer once its question is on the screen's last lines. */
async function answer(session: TerminalSession, ...steps: readonly (readonly [RegExp, string])[]): Promise<void> {
  for (const [question, text] of steps) {
    await session.shows(question);
    session.press(text, KEY.enter);
  }
}

const MENU = /^(?=[\s\S]*\bO que fazer\?)[\s\S]*DOWNLOAD[\s\S]*$/;

async function enter(session: TerminalSession, port: number, folder: string): Promise<void> {
  await answer(session, [MENU, "JOIN"], [/IP deste peer/, ""], [/Porta deste peer/, String(port)], [/Pasta/, folder]);
  await session.shows("Sou peer");
}

async function search(session: TerminalSession, name: string): Promise<void> {
  await answer(session, [MENU, "SEARCH"], [/Nome do arquivo/, name]);
}

async function record(): Promise<Pane[]> {
  await using machine = await openNative();
  const cwd = machine.temporary.path;
  const folder = (name: string, ...files: string[]): string => {
    mkdirSync(join(cwd, name));
    for (const file of files) writeFileSync(join(cwd, name, file), file);
    return name;
  };
  const open = (program: "napster-server" | "napster-peer") =>
    openTerminal(machine.command(program), { columns: COLUMNS, cwd, env: { NAPSTER_CACHE: join(cwd, "cache") } });

  await using server = open("napster-server");
  await answer(server, [/IP do servidor/, ""], [/Porta do servidor/, ""]);
  await using one = open("napster-peer");
  await enter(one, 8776, folder("peer1", "aula1.mp4", "aula2.mp4"));
  await using two = open("napster-peer");
  const source = folder("peer2");
  await makeVideo(join(cwd, source, "Aula.mp4"));
  await enter(two, 8777, source);
  await using three = open("napster-peer");
  await enter(three, 8778, folder("peer3"));
  await search(three, "aula9.mp4");
  await three.shows(/^peers com arquivo solicitado:$/m);
  await search(three, "Aula.mp4");
  await three.shows("solicitado: 127.0.0.1:8777");
  await answer(three, [MENU, "DOWNLOAD"], [/IP do peer/, ""], [/porta do peer/, ""]);
  await three.shows("baixado com sucesso", DOWNLOAD_SECONDS_MAX);
  await search(one, "Aula.mp4");
  await one.shows(/solicitado: .*:8777 .*:8778/);
  await three.shows(MENU);
  await one.shows(MENU);
  const peer = `napster-peer (servidor ${SERVER})`;
  return [
    { title: `napster-server (${SERVER})`, lines: server.screen() },
    { title: peer, lines: one.screen() },
    { title: peer, lines: two.screen() },
    { title: peer, lines: three.screen() },
  ];
}

const escapeXml = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");

const CELL = { width: 7.2, height: 17 } as const;
const EDGE = 12;
const BAR = 26;

function draw(panes: readonly Pane[]): string {
  const rows = Math.max(...panes.map(({ lines }) => lines.length)) + 1;
  const width = Math.ceil(COLUMNS * CELL.width) + 2 * EDGE;
  const height = BAR + rows * CELL.height + EDGE;
  const drawn = panes.map(({ title, lines }, index) => {
    const [x, y] = [(index % 2) * (width + EDGE), Math.floor(index / 2) * (height + EDGE)];
    const texts = lines.map((line, row) =>
      line === ""
        ? ""
        : `  <text x="${EDGE}" y="${BAR + (row + 1) * CELL.height}" textLength="${(Bun.stringWidth(line) * CELL.width).toFixed(1)}">${escapeXml(line)}</text>\n`,
    );
    return `<g transform="translate(${x} ${y})">
  <rect width="${width}" height="${height}" rx="6" fill="#0c0c0c"/>
  <path d="M0 ${BAR}V6a6 6 0 0 1 6-6h${width - 12}a6 6 0 0 1 6 6v${BAR - 6}z" fill="#2b2b2b"/>
  <text class="title" x="${EDGE}" y="18">${escapeXml(title)}</text>
${texts.join("")}</g>
`;
  });
  const whole = [2 * width + EDGE, Math.ceil(panes.length / 2) * (height + EDGE) - EDGE] as const;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${whole.join(" ")}" role="img" aria-label="Quatro consoles: um servidor e três peers">
<style>text{font:12px Consolas,"DejaVu Sans Mono",Menlo,monospace;fill:#e0e0e0;white-space:pre}.title{fill:#a8a8a8}</style>
${drawn.join("")}</svg>
`;
}

await Bun.write(TARGET, draw(await record()));
