// One seed, one story: a server, sharers, downloaders and liars; a network and disks that fail; a time by which all is well.

import type { Catalog } from "../../src/catalog/contract.ts";
import { createMemoryCatalog } from "../../src/catalog/memory.ts";
import { isFault } from "../../src/protocol/fault.ts";
import { Servidor } from "../../src/servidor.ts";
import { type Checks, createChecks } from "./checks.ts";
import { CONTENTS, type Content, contentOf, LONG } from "./contents.ts";
import { createDisk, type SimDisk } from "./disk.ts";
import { HOGS, type Hog, isHog, startHog } from "./hog.ts";
import { LIES, type Lie, startLiar } from "./liar.ts";
import { createNetwork, type Network, pairOf, type Weather } from "./network.ts";
import { PEER_PORT, SERVER, type SimPeer, startPeer } from "./peer.ts";
import { watchFilm } from "./play.ts";
import { createRandom, type Random } from "./random.ts";
import { createProcess, createTime, type Process, type Time } from "./time.ts";
import { openWall, TROUBLES, type Trouble } from "./troubles.ts";

export type Outcome = {
  readonly seed: number;
  readonly breaches: readonly string[];
  /** What the story was about, for whoever reads a failure. */
  readonly story: readonly string[];
  readonly downloads: number;
  readonly crashes: number;
  readonly pieces: number;
  /** Bytes that players got. */
  readonly seen: number;
  readonly events: number;
  readonly carried: number;
  readonly seconds: number;
};

/** One peer's machine: its disk outlives its programs. */
export type Machine = {
  readonly ip: string;
  readonly disk: SimDisk;
  readonly wants: Content[];
  readonly lie: Lie | Hog | undefined;
  /** What its person allows, bytes per second. */
  readonly maxDownloadRate?: number | undefined;
  /** By lot when not given. */
  readonly maxUploads?: number | undefined;
  readonly maxUploadRate?: number | undefined;
  readonly hashSpeed?: number | undefined;
  readonly hashedAtStart?: boolean | undefined;
  /** Behind a firewall for ever: it dials others, and nobody reaches it. */
  readonly walled?: boolean;
  /** Behind a firewall without a break since before its program started. */
  startedWalled?: boolean;
  process: Process | undefined;
  peer: SimPeer | undefined;
  goneSince: number | undefined;
  /** Reads so many times as slowly as chance has it. */
  slower?: number;
};

export type Stage = {
  readonly time: Time;
  readonly random: Random;
  readonly network: Network;
  readonly machines: readonly Machine[];
  readonly server: { process: Process | undefined; catalog: Catalog; servidor: Servidor | undefined };
  readonly checks: Checks;
  tell(what: string): void;
  crash(machine: Machine, how: "kill" | "power"): void;
  start(machine: Machine): void;
  crashServer(how: "kill" | "power"): void;
  startServer(): void;
  /** Stops the server as its operator does. */
  stopServer(): void;
  counts: { crashes: number };
};

type Attempt = { readonly what: string; readonly process: Process };

/** Troubles begin before this; from then on all is mended. */
export const MENDED_MS = 45_000;
/** By then every download is done. */
const DONE_MS = 900_000;
/** A person's own limit makes everything that is wanted take so long at most. */
const SLOW_SECONDS = 300;
/** A single download never takes longer than this once all is mended. */
const ATTEMPT_MS = 400_000;
/** From then on everybody is back, listed and hashed: a download that begins now has no excuse. */
const CLEAR_MS = MENDED_MS + 15_000;
/** The same in a story without troubles. */
const CALM_MS = 15_000;
/** What ends a download that others could go on with: the person's word, and queues that are longer than its patience. */
const OURS: ReadonlySet<string> = new Set(["CANCELLED", "BUSY"]);
/** A server that is stopped has ended by then. */
export const STOP_MS = 200;
/** So long a person who keeps to one source waits for it. */
const PATIENCE_MS = 120_000;
/** Silence after which the server must have forgotten a peer: its idle limit, a sweep, a slice on the way. */
const GHOST_MS = 35_000;
/** Within this everybody is back in a mended network: the idle limit, the longest back-off, a dial and an answer. */
const SETTLED_MS = 90_000;

export function play(seed: number, verbose = false): Outcome {
  const random = createRandom(seed);
  const time = createTime();
  const story: string[] = [];
  const tell = (what: string): void => {
    const line = `${(time.now / 1000).toFixed(3)} ${what}`;
    story.push(line);
    if (verbose) console.log(line);
  };
  const contents = chooseContents(random);
  const weather = weathers(random.fork());
  const machines = chooseMachines(time, random, contents);
  const stage = openStage({ time, random, machines, contents, weather, tell });
  const { checks, network } = stage;
  const attempts = new Map<Attempt, number>(); // when each download of now began
  const viewers = createRandom(seed ^ 0x5eed);
  let downloads = 0;
  let seen = 0;

  stage.startServer();
  // Where nothing is to go wrong, who downloads comes when all others are there.
  const isCalm = random.chance(0.15);
  for (const machine of machines)
    time.after(random.next() * 3000 + (isCalm && machine.wants.length > 0 ? CALM_MS : 0), () => stage.start(machine));
  for (const machine of machines) if (machine.lie === undefined) live(machine);
  if (!isCalm) scheduleTroubles(stage);
  time.after(MENDED_MS, () => mend(stage));
  every(time, 1000, () => {
    checks.memory();
    const gone = machines.filter(({ goneSince }) => goneSince !== undefined && time.now - goneSince > GHOST_MS);
    if (stage.server.process?.alive)
      checks.noGhosts(
        stage.server.catalog,
        gone.map(({ ip }) => ip),
      );
    if (stage.server.process?.alive)
      checks.noneUnreached(
        stage.server.catalog,
        machines.filter(({ startedWalled }) => startedWalled).map(({ ip }) => ip),
      );
    for (const [attempt, since] of attempts) {
      if (!attempt.process.alive) attempts.delete(attempt);
      else if (time.now - Math.max(since, MENDED_MS) > ATTEMPT_MS) {
        attempts.delete(attempt);
        checks.breach(`${attempt.what} neither finishes nor ends`);
      }
    }
  });

  /** The person at a machine: wants its files, asks again when a download fails. */
  function live(machine: Machine): void {
    const atOnce = random.chance(0.5) ? machine.wants.length : 1;
    const asking = new Set<Content>();
    let asker: Process | undefined;
    const bad = new Set<string>();
    every(time, 300, () => {
      const { process, peer } = machine;
      if (process === undefined || !process.alive || peer === undefined || !peer.joined) return;
      if (asker !== process) asking.clear(); // what a killed program asked for, it will never hear of
      asker = process;
      const wanted = machine.wants.find(
        (content) => !asking.has(content) && machine.disk.file(content.name) === undefined,
      );
      if (wanted === undefined || asking.size >= atOnce) return;
      asking.add(wanted);
      void ask(machine, process, peer, wanted, bad).finally(() => {
        if (asker === process) asking.delete(wanted);
      });
    });
  }

  async function ask(machine: Machine, process: Process, peer: SimPeer, content: Content, bad: Set<string>) {
    const { name } = content;
    const found = await peer.search(name);
    if (isFault(found)) return;
    const others = found.filter(({ ip }) => ip !== machine.ip);
    const from = random.pick(others.filter(({ ip }) => !bad.has(ip)));
    if (from === undefined) return bad.clear();
    const what = `${machine.ip}: the download of ${name} from ${from.ip}`;
    const attempt = { what, process };
    const person = new AbortController();
    const only = random.chance(0.1);
    const cancel = (): void => {
      if (attempts.has(attempt)) tell(`${what} is cancelled`);
      person.abort();
    };
    const cancelsAfter = random.chance(0.15) ? random.scale(20, 20_000) : Number.POSITIVE_INFINITY;
    if (time.now + cancelsAfter < MENDED_MS) process.clock.after(cancelsAfter, cancel);
    // Whoever keeps to one source that trickles gets what it gives: nobody but the person can want another.
    const trickles = machines.some(({ ip, lie }) => ip === from.ip && lie === "a trickle");
    if (only && trickles) process.clock.after(PATIENCE_MS, cancel);
    const since = time.now;
    attempts.set(attempt, since);
    const before = honestHolders(machine, name);
    if (viewers.chance(0.4)) void watch(machine, process, peer, content);
    const done = await peer.download(name, from, { signal: person.signal, only });
    attempts.delete(attempt);
    tell(`${what}: ${isFault(done) ? `${done.fault} ${done.detail}` : "done"}`);
    if (!isFault(done)) downloads++;
    else {
      if (done.fault !== "CANCELLED" || trickles) bad.add(from.ip);
      const honest = machines.some(({ ip, lie }) => ip === from.ip && lie === undefined);
      const stayed = honestHolders(machine, name).filter((ip) => before.includes(ip));
      if (since > (isCalm ? CALM_MS : CLEAR_MS) && !only && stayed.length > 0 && !OURS.has(done.fault))
        checks.breach(`${what} is given up (${done.fault} ${done.detail}), though ${stayed} have it`);
      if (done.fault === "OTHER_CONTENT" && honest) checks.breach(`${what} is in the way of itself: ${done.detail}`);
      await new Promise<void>((resolve) => process.clock.after(200 + random.next() * 1500, resolve));
    }
  }

  async function watch({ ip }: Machine, process: Process, peer: SimPeer, content: Content): Promise<void> {
    await new Promise<void>((resolve) => void process.clock.after(viewers.next() * 2000, resolve));
    const watched = await watchFilm(peer, content, process, viewers);
    seen += watched.seen;
    if (watched.wrong !== undefined) checks.breach(`${ip}: ${watched.wrong}`);
  }

  /** Those from whom a machine could have a file now. */
  function honestHolders(asker: Machine, name: string): string[] {
    const able = machines.filter(
      ({ ip, lie, walled, process, peer, disk }) =>
        ip !== asker.ip &&
        lie === undefined &&
        !walled &&
        process?.alive &&
        peer?.joined &&
        disk.file(name) !== undefined,
    );
    return able.map(({ ip }) => ip);
  }

  const done = (): boolean =>
    checks.breaches.length > 0 ||
    (time.now > MENDED_MS &&
      machines.every(({ wants, disk }) => wants.every(({ name }) => disk.file(name) !== undefined)));
  if (!time.run(DONE_MS, done)) {
    for (const { ip, wants, disk } of machines)
      for (const { name } of wants) if (disk.file(name) === undefined) checks.breach(`${ip} never got ${name}`);
  }
  if (checks.breaches.length === 0) {
    time.run(SETTLED_MS, () => checks.breaches.length > 0);
    const holders = (name: string, ofContent: boolean): string[] =>
      machines
        .filter(({ process, walled }) => process?.alive && !walled)
        .filter(({ disk, lie }) => {
          if (lie === undefined) return disk.file(name) !== undefined;
          const isOther = lie === "another content and never a byte" && (contents[0]?.bytes.length ?? 0) > 0;
          return !isHog(lie) && contents[0]?.name === name && !(ofContent && isOther);
        })
        .map(({ ip }) => ip);
    checks.agrees(stage.server.catalog, holders);
    for (const { ip, lie } of machines) if (lie === undefined) checks.folder(ip);
  }
  time.run(1, () => false); // turns that a module of the program has taken for itself must not be left to the next seed
  return {
    seed,
    breaches: checks.breaches,
    story,
    downloads,
    crashes: stage.counts.crashes,
    pieces: checks.pieces,
    seen,
    events: time.events,
    carried: network.carried,
    seconds: time.now / 1000,
  };
}

function every(time: Time, ms: number, action: () => void): void {
  time.after(ms, () => {
    action();
    every(time, ms, action);
  });
}

function chooseContents(random: Random): Content[] {
  const first = contentOf(random.chance(0.8) ? random.pick(LONG) : random.int(0, CONTENTS - 1));
  if (random.chance(0.7)) return [first];
  const second = contentOf(random.int(0, CONTENTS - 1));
  return second === first ? [first] : [first, second];
}

function weathers(random: Random): (a: string, b: string) => Weather {
  const made = new Map<string, Weather>();
  return (a, b) => {
    const pair = pairOf(a, b);
    let weather = made.get(pair);
    if (weather === undefined) {
      weather = {
        latency: random.scale(0.1, 120),
        bytesPerSecond: random.scale(60_000, 3_000_000),
        windowBytes: Math.round(random.scale(8_000, 600_000)),
        sliceBytes: Math.round(random.scale(1500, 128 * 1024)),
        tiny: random.chance(0.3),
        flips: random.chance(0.1) ? random.scale(0.002, 0.05) : 0,
      };
      made.set(pair, weather);
    }
    return weather;
  };
}

function chooseMachines(time: Time, random: Random, contents: readonly Content[]): Machine[] {
  const count = {
    sharers: random.int(1, 2),
    downloaders: random.int(1, 4),
    liars: random.chance(0.35) ? random.int(1, 2) : 0,
    hogs: random.chance(0.12) ? 1 : 0,
  };
  const bytes = contents.reduce((sum, content) => sum + content.bytes.length, 0);
  const kinds = [
    ...Array<"sharer">(count.sharers).fill("sharer"),
    ...Array<"downloader">(count.downloaders).fill("downloader"),
    ...Array<"liar">(count.liars).fill("liar"),
    ...Array<"hog">(count.hogs).fill("hog"),
  ];
  return kinds.map((kind, index) => {
    const disk = createDisk(time, random.fork());
    disk.health.syncMs = random.scale(0.5, 400);
    disk.health.links = random.chance(0.8);
    const walled = kind === "downloader" && random.chance(0.15);
    if (kind === "sharer") for (const content of contents) disk.plant(content.name, content.bytes);
    return {
      ip: `192.0.2.${index + 10}`,
      disk,
      wants: kind === "downloader" ? [...contents] : [],
      lie: kind === "liar" ? random.pick(LIES) : kind === "hog" ? random.pick(HOGS) : undefined,
      maxDownloadRate: random.chance(0.1) ? Math.max(1024, bytes / random.scale(20, SLOW_SECONDS)) : undefined,
      walled,
      process: undefined,
      peer: undefined,
      goneSince: undefined,
    };
  });
}

export type Cast = Pick<Stage, "time" | "random" | "machines" | "tell"> & {
  readonly contents: readonly Content[];
  readonly weather: (a: string, b: string) => Weather;
  readonly namesMax?: number | undefined;
};

/** The machines, their network and what is checked of them; nobody has started yet. */
export function openStage(cast: Cast): Stage {
  const { time, random, machines, tell, contents, weather, namesMax } = cast;
  const network = createNetwork(time, random.fork(), weather);
  const byIp = new Map(machines.map((machine) => [machine.ip, machine]));
  const checks = createChecks({
    now: () => time.now,
    contents,
    network,
    disk: (ip) => (byIp.get(ip) as Machine).disk,
    isHonest: (ip) => byIp.get(ip)?.lie === undefined,
    lies: machines.flatMap(({ lie }) => lie ?? []),
  });
  for (const { ip, walled } of machines) if (walled) network.wall(ip, true);
  const server: Stage["server"] = {
    process: undefined,
    catalog: createMemoryCatalog(undefined, namesMax),
    servidor: undefined,
  };
  const counts = { crashes: 0 };

  function start(machine: Machine): void {
    if (machine.process?.alive) return;
    const { ip, disk, lie } = machine;
    const process = createProcess(time);
    network.setPower(ip, true);
    machine.process = process;
    machine.goneSince = undefined;
    // An earlier program of this machine may be listed still; that is noGhosts' business.
    machine.startedWalled = network.isWalled(ip) && checks.named(server.catalog, [ip]).length === 0;
    tell(
      `${ip} starts${machine.startedWalled ? " behind a firewall" : ""}${lie === undefined ? "" : ` and lies: ${lie}`}`,
    );
    if (lie !== undefined && isHog(lie)) {
      const sharers = machines.filter((one) => one.lie === undefined && one.wants.length === 0);
      const targets = sharers.map((one) => ({ ip: one.ip, port: PEER_PORT }));
      startHog({ ip, process, network, random: random.fork(), content: contents[0] as Content, way: lie, targets });
      return;
    }
    if (lie !== undefined) {
      startLiar({ ip, time, process, network, random: random.fork(), content: contents[0] as Content, lie });
      return;
    }
    checks.folder(ip);
    machine.peer = startPeer({
      ip,
      time,
      process,
      network,
      disk,
      random: random.fork(),
      contents,
      maxUploads: machine.maxUploads ?? random.pick([1, 2, 8]),
      maxUploadRate: machine.maxUploadRate ?? (random.chance(0.15) ? 200_000 : undefined),
      maxDownloadRate: machine.maxDownloadRate,
      hashedAtStart: machine.hashedAtStart ?? random.chance(0.5),
      hashSpeed: machine.hashSpeed ?? random.scale(200_000, 50e6),
      scanMs: random.scale(5, 4000) * (machine.slower ?? 1),
      watch: checks.watch,
    });
  }

  function end(process: Process | undefined, ip: string, how: "kill" | "power"): void {
    if (process === undefined || !process.alive) return;
    counts.crashes++;
    process.kill();
    if (how === "power") network.setPower(ip, false);
    network.abandon(process, how === "power");
  }

  function startServer(): void {
    if (server.process?.alive) return;
    const process = createProcess(time);
    server.process = process;
    server.catalog = createMemoryCatalog(undefined, namesMax);
    network.setPower(SERVER.ip, true);
    tell("the server starts");
    const { listen, connect } = network.of(SERVER.ip, process);
    const { clock } = process;
    const { catalog } = server;
    server.servidor = new Servidor({
      at: SERVER,
      env: { listen, connect, clock },
      catalog,
      onEvent() {},
    });
    server.servidor.listen();
  }

  return {
    time,
    random,
    machines,
    tell,
    network,
    checks,
    server,
    counts,
    start,
    startServer,
    crash(machine, how) {
      if (!machine.process?.alive) return;
      tell(`${machine.ip}: ${how}`);
      end(machine.process, machine.ip, how);
      machine.goneSince = time.now;
      if (how === "power") machine.disk.cutPower();
      // Only another time does the cache let go: until then the next program sees what the disk may never have got.
      else if (random.chance(0.5)) machine.disk.evict();
      if (machine.lie === undefined) checks.folder(machine.ip);
    },
    stopServer() {
      const { process, servidor } = server;
      if (process?.alive !== true) return;
      tell("the server is stopped");
      void servidor?.close();
      time.after(STOP_MS, () => end(process, SERVER.ip, "kill"));
    },
    crashServer(how) {
      tell(`the server: ${how}`);
      end(server.process, SERVER.ip, how);
    },
  };
}

function scheduleTroubles(stage: Stage): void {
  const { time, random } = stage;
  const theme = random.pick(["crashes", "power", "network", "disk", "all", "all", "all"] as const);
  const count = random.int(1, 10);
  const able = (Object.keys(TROUBLES) as Trouble[]).filter(
    (name) => theme === "all" || TROUBLES[name].themes.includes(theme),
  );
  for (let i = 0; i < count; i++) {
    const trouble = random.pick(able);
    const when = random.chance(0.7) ? 3000 + random.next() * 12_000 : random.next() * MENDED_MS * 0.9;
    time.after(when, () => TROUBLES[trouble].strike(stage));
  }
}

/** Everything works again: whoever is down starts, whatever was barred is open. */
function mend(stage: Stage): void {
  const { random, time } = stage;
  stage.tell("all is mended");
  stage.network.heal();
  for (const machine of stage.machines) {
    Object.assign(machine.disk.health, { full: false, sync: "works", refuses: undefined });
    openWall(stage, machine);
  }
  stage.startServer();
  for (const machine of stage.machines) stage.start(machine);
  // What no repair prevents: a person edits a file, another program has one open.
  for (const name of ["a sharer's file is edited", "a sharer's files are refused for a moment"] as const)
    if (random.chance(0.2))
      time.after(CLEAR_MS - MENDED_MS + random.scale(1, 20_000), () => TROUBLES[name].strike(stage));
}
