// `bun run demo`: the main job on this machine, from nothing. Installs and builds what is missing, then opens four
// consoles as separate processes, moves a video of more than 1 GB between two of them, and checks the copy.
// It needs no package before it has installed them, so it imports only Bun's own modules and tests/support.

import { copyFileSync, mkdirSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { freePorts, sha256 } from "./support/folders.ts";
import { type Console, type Machine, openConsole, openNative, type Place } from "./support/napster.ts";
import { startProgram } from "./support/program.ts";
import { run } from "./support/run.ts";
import { decodeVideo, GIANT_BYTES, makeVideo } from "./support/video.ts";

const ROOT = join(import.meta.dir, "..");
const APT_SECONDS_MAX = 300;
const VIDEO = "gigante.mp4";
const LABEL_COLUMNS = 9;

const say = (text: string): void => console.log(`\n== ${text}`);
const console_ =
  (label: string) =>
  (line: string): void =>
    console.log(`   ${label.padEnd(LABEL_COLUMNS)}| ${line}`);

async function install(): Promise<void> {
  say("Instalando as dependências");
  await run([process.execPath, "install", "--frozen-lockfile"], { cwd: ROOT, seconds: APT_SECONDS_MAX });
}

/** True when this machine has ffmpeg, or lets us install it. */
async function ensureFfmpeg(): Promise<boolean> {
  if (Bun.which("ffmpeg") !== null) return true;
  if (process.getuid?.() !== 0 || Bun.which("apt-get") === null) return false;
  say("Instalando o ffmpeg com apt-get");
  const env = { DEBIAN_FRONTEND: "noninteractive" };
  try {
    await run(["apt-get", "update"], { env, seconds: APT_SECONDS_MAX });
    await run(["apt-get", "install", "-y", "--no-install-recommends", "ffmpeg"], { env, seconds: APT_SECONDS_MAX });
  } catch (error) {
    console.log(`   não deu: ${error}`);
  }
  return Bun.which("ffmpeg") !== null;
}

/** Stands in for the video where there is no ffmpeg: bytes that never repeat at the same offset of a piece. */
async function makeBytes(path: string): Promise<number> {
  const file = Bun.file(path).writer();
  const chunk = new Uint32Array(2 ** 20);
  let state = 1;
  for (let written = 0; written <= GIANT_BYTES; written += chunk.byteLength) {
    for (let index = 0; index < chunk.length; index++) {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
      chunk[index] = state;
    }
    file.write(new Uint8Array(chunk.buffer));
    await file.flush();
  }
  await file.end();
  return statSync(path).size;
}

type Peer = Console & { readonly place: Place };

async function demonstrate(machine: Machine, isVideo: boolean, keep: string | undefined): Promise<void> {
  await using stack = new AsyncDisposableStack();
  say("Quatro consoles: um servidor e três peers, cada um um processo");
  const server = startProgram({
    command: machine.command("napster-server", "--port", "0", "--host", "127.0.0.1"),
    stdin: "none",
    onLine: console_("servidor"),
  });
  stack.use(server);
  const at = await server.ready();
  const [one, two, three] = ["peer1", "peer2", "peer3"].map((name) => {
    const peer = openConsole(machine, at, console_(name));
    stack.use(peer.program);
    return { ...peer, place: machine.place(name) };
  }) as [Peer, Peer, Peer];
  await Bun.write(join(one.place.path, "aula1.mp4"), "aula 1");
  const source = join(two.place.path, VIDEO);
  const bytes = isVideo ? await makeVideo(source) : await makeBytes(source);
  const addresses = freePorts(3).map((port) => `127.0.0.1:${port}`);
  for (const [index, peer] of [one, two, three].entries()) await peer.join(addresses[index] ?? "", peer.place.typed);

  say("O terceiro procura um arquivo que ninguém tem, depois o vídeo, e o baixa do segundo");
  await three.search("não existe.mp4");
  await three.search(VIDEO);
  const began = performance.now();
  await three.download(addresses[1] ?? "");
  const seconds = (performance.now() - began) / 1000;
  await one.search(VIDEO);

  say("Conferindo a cópia");
  const copy = join(three.place.path, VIDEO);
  const [sent, arrived] = [await sha256(source), await sha256(copy)];
  console.log(`   ${(bytes / 1e9).toFixed(2)} GB em ${seconds.toFixed(1)} s`);
  console.log(`   sha256 enviado  ${sent}\n   sha256 recebido ${arrived}`);
  if (sent !== arrived) throw new Error("a cópia não é igual");
  if (isVideo) {
    await decodeVideo(copy);
    console.log("   ffmpeg decodificou a cópia inteira, sem erro");
  } else console.log("   sem ffmpeg nesta máquina: o arquivo foi gerado e não é um vídeo");
  for (const { program } of [one, two, three]) {
    program.endInput();
    if ((await program.exit()) !== 0) throw new Error("um peer saiu com erro");
  }
  if (keep !== undefined) {
    mkdirSync(keep, { recursive: true });
    copyFileSync(copy, join(keep, VIDEO));
    console.log(`   a cópia está em ${join(keep, VIDEO)}${isVideo ? ": abra no VLC" : ""}`);
  }
}

const [flag, folder] = Bun.argv.slice(2);
if (flag !== undefined && (flag !== "--keep" || folder === undefined)) {
  console.error("usage: bun run demo [--keep FOLDER]");
  process.exit(2);
}
try {
  await install();
  const isVideo = await ensureFfmpeg();
  say("Construindo os executáveis");
  await using machine = await openNative();
  await demonstrate(machine, isVideo, folder === undefined ? undefined : resolve(folder));
  say("Tudo certo");
} catch (error) {
  console.error(`\nA demonstração falhou: ${error instanceof Error ? error.message : error}`);
  process.exitCode = 1;
}
