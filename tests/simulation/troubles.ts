// What may go wrong in a simulation, one row each.

import type { Refusal, SimFile } from "./disk.ts";
import { type Machine, STOP_MS, type Stage } from "./scenario.ts";

type Theme = "crashes" | "power" | "network" | "disk" | "all";
type Row = { readonly themes: readonly Theme[]; strike(stage: Stage): void };

const row = (themes: readonly Theme[], strike: (stage: Stage) => void): Row => ({ themes, strike });

const honest = ({ machines }: Stage): Machine[] => machines.filter(({ lie }) => lie === undefined);
const sharers = (stage: Stage): Machine[] => honest(stage).filter(({ wants }) => wants.length === 0);
const downloaders = ({ machines }: Stage): Machine[] => machines.filter(({ wants }) => wants.length > 0);

function crash(stage: Stage, how: "kill" | "power", among: readonly Machine[], longest: number): void {
  const machine = stage.random.pick(among);
  stage.crash(machine, how);
  stage.time.after(stage.random.scale(50, longest), () => stage.start(machine));
}

/** For a while a disk is as `how` says. */
function ail(stage: Stage, how: Partial<Machine["disk"]["health"]>, ms: number): void {
  const { disk, ip } = stage.random.pick(downloaders(stage));
  stage.tell(`${ip}: the disk ${JSON.stringify(how)} for ${Math.round(ms)} ms`);
  const { syncMs } = disk.health;
  Object.assign(disk.health, how);
  stage.time.after(ms, () => Object.assign(disk.health, { full: false, sync: "works", syncMs: Math.min(syncMs, 400) }));
}

const REFUSALS: readonly Refusal[] = [
  { doing: "open", code: "EMFILE" },
  { doing: "open", code: "EBUSY" },
  { doing: "open", code: "EACCES" },
  { doing: "read", code: "EBUSY" },
  { doing: "read", code: "EAGAIN" },
];

/** A sharer no longer has a file as it announced it. */
function takeAway(stage: Stage, how: "deleted" | "edited"): void {
  const { disk, peer, process, ip } = stage.random.pick(sharers(stage));
  const name = stage.random.pick(disk.names);
  // Somebody must be left to have it from.
  if (name === undefined || sharers(stage).every((one) => one.ip === ip || one.disk.file(name) === undefined)) return;
  stage.tell(`${ip}: ${name} is ${how}`);
  // To one who has it open, edited means another size or time; who looks for it later finds another file, not this one.
  if (how === "edited") (disk.file(name) as SimFile).changedAt = -1;
  disk.remove(name);
  process?.clock.after(stage.random.scale(1, 5000), () => peer?.look());
}

/** Kills a downloader and damages what it left. */
function damage(stage: Stage, work: "part" | "part.journal", ways: readonly Damage[]): void {
  const machine = stage.random.pick(downloaders(stage));
  stage.crash(machine, "kill");
  // What a failed sync forgot, shown to the end, with the journal gone that takes it back: nobody could know.
  machine.disk.evict();
  for (const { name } of machine.wants) {
    const how = stage.random.pick(ways);
    stage.tell(`${machine.ip}: ${name}.${work} is damaged: ${how}`);
    machine.disk.damage(`${name}.${work}`, how);
  }
  stage.time.after(stage.random.scale(50, 5000), () => stage.start(machine));
}
type Damage = Parameters<Machine["disk"]["damage"]>[1];

function part(stage: Stage, a: string, b: string): void {
  const ms = stage.random.scale(500, 60_000);
  stage.tell(`${a} and ${b} are apart for ${Math.round(ms)} ms`);
  stage.network.part(a, b, ms);
}

const SERVER_IP = "192.0.2.1";
const notServer = (a: string, b: string): boolean => a !== SERVER_IP && b !== SERVER_IP;
const anyPair = (): boolean => true;

function breakOne(stage: Stage, how: "reset" | "fin" | "corrupt" | "stall", among: (a: string, b: string) => boolean) {
  if (stage.network.breakOne(how, among)) stage.tell(`a connection breaks: ${how}`);
}

/** The firewall of a machine lets others in, unless it is there for ever. */
export function openWall({ network }: Stage, machine: Machine): void {
  if (machine.walled) return;
  network.wall(machine.ip, false);
  machine.startedWalled = false;
}

export const TROUBLES = {
  "a downloader is killed": row(["crashes"], (stage) => crash(stage, "kill", downloaders(stage), 8000)),
  "a peer is killed": row(["crashes"], (stage) => crash(stage, "kill", honest(stage), 20_000)),
  "a downloader loses power": row(["power"], (stage) => crash(stage, "power", downloaders(stage), 20_000)),
  "a peer loses power": row(["power"], (stage) => crash(stage, "power", honest(stage), 40_000)),
  "the server is killed": row(["crashes"], (stage) => {
    stage.crashServer("kill");
    stage.time.after(stage.random.scale(50, 20_000), () => stage.startServer());
  }),
  "the server loses power": row(["power"], (stage) => {
    stage.crashServer("power");
    stage.time.after(stage.random.scale(1000, 20_000), () => stage.startServer());
  }),
  "the server is stopped": row(["crashes"], (stage) => {
    stage.stopServer();
    stage.time.after(stage.random.scale(2 * STOP_MS, 20_000), () => stage.startServer());
  }),
  "a peer leaves and comes back": row(["crashes", "network"], (stage) => {
    const machine = stage.random.pick(honest(stage));
    const { peer, ip, process } = machine;
    if (peer?.joined !== true || process === undefined) return;
    stage.tell(`${ip} leaves`);
    const end = (): void => {
      if (machine.process === process) stage.crash(machine, "kill");
    };
    void peer.leave().then(end);
    stage.time.after(stage.random.scale(3000, 20_000), () => {
      end();
      stage.start(machine);
    });
  }),
  "a sharer's file is deleted": row(["disk"], (stage) => {
    takeAway(stage, "deleted");
  }),
  "a sharer's file is edited": row(["disk"], (stage) => takeAway(stage, "edited")),
  "a sharer's files are refused for a moment": row(["disk"], (stage) => {
    const { disk, ip } = stage.random.pick(sharers(stage));
    const refuses = stage.random.pick(REFUSALS);
    const ms = stage.random.scale(200, 20_000);
    stage.tell(`${ip}: ${refuses.doing} is refused with ${refuses.code} for ${Math.round(ms)} ms`);
    disk.health.refuses = refuses;
    stage.time.after(ms, () => Object.assign(disk.health, { refuses: undefined }));
  }),
  "two peers are apart": row(["network"], (stage) => {
    const [a, b] = stage.random.shuffle(stage.machines);
    if (a !== undefined && b !== undefined) part(stage, a.ip, b.ip);
  }),
  "a peer is alone": row(["network"], (stage) => part(stage, stage.random.pick(stage.machines).ip, "*")),
  "the server is alone": row(["network"], (stage) => part(stage, SERVER_IP, "*")),
  "a firewall goes up": row(["network"], (stage) => {
    const machine = stage.random.pick(stage.machines);
    const ms = stage.random.scale(500, 20_000);
    stage.tell(`${machine.ip}: nobody can connect to it for ${Math.round(ms)} ms`);
    stage.network.wall(machine.ip, true);
    if (stage.random.chance(0.5)) crash(stage, "kill", [machine], ms / 2);
    stage.time.after(ms, () => openWall(stage, machine));
  }),
  "a reset": row(["network"], (stage) => breakOne(stage, "reset", anyPair)),
  "an early goodbye": row(["network"], (stage) => breakOne(stage, "fin", anyPair)),
  "a stall": row(["network"], (stage) => breakOne(stage, "stall", anyPair)),
  "a flipped bit": row(["network"], (stage) => breakOne(stage, "corrupt", notServer)),
  "another flipped bit": row(["network"], (stage) => breakOne(stage, "corrupt", notServer)),
  "a full disk": row(["disk"], (stage) => ail(stage, { full: true }, stage.random.scale(500, 30_000))),
  "syncs that fail": row(["disk"], (stage) => ail(stage, { sync: "fails" }, stage.random.scale(500, 10_000))),
  "a sync that is forgotten": row(["disk", "power"], (stage) => ail(stage, { sync: "forgets" }, 2000)),
  "a .part is damaged": row(["disk"], (stage) => damage(stage, "part", ["rot", "rot", "cut", "longer", "gone"])),
  "a journal is damaged": row(["disk"], (stage) =>
    damage(stage, "part.journal", ["rot", "cut", "garbage", "longer", "gone"]),
  ),
  "syncs that take long": row(["disk", "power"], (stage) =>
    ail(stage, { syncMs: stage.random.scale(1000, 8000) }, stage.random.scale(1000, 20_000)),
  ),
} as const;
export type Trouble = keyof typeof TROUBLES;
