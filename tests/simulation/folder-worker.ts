// A program at work in a folder, one step at a time, as the seed of folder.ts has it: a process of its own.

import { openPartWorkspace, type PartWorkspace } from "../../src/content/part-workspace.ts";
import { writeAt } from "../../src/content/positioned-io.ts";
import { isFault } from "../../src/protocol/fault.ts";

/** What it is told, a line of JSON each; each is answered by a line: "done" or a fault's code. */
export type Step =
  | { readonly do: "open"; readonly folder: string; readonly name: string }
  | { readonly do: "write"; readonly byte: number; readonly offset: number; readonly length: number }
  | { readonly do: "publish"; readonly size: number }
  | { readonly do: "leave" };

let place: PartWorkspace | undefined;

async function take(step: Step): Promise<string> {
  if (step.do === "open") {
    const opened = await openPartWorkspace(step.folder, step.name);
    if (isFault(opened)) return opened.fault;
    place = opened;
    return "done";
  }
  const at = place;
  if (at === undefined) return "none";
  if (step.do === "write") {
    const failed = writeAt(at.part.fd, new Uint8Array(step.length).fill(step.byte), step.offset);
    return failed?.fault ?? "done";
  }
  place = undefined;
  if (step.do === "leave") await at.leave(false);
  else {
    await at.part.truncate(step.size);
    await at.part.sync();
    return (await at.publish(step.size))?.fault ?? "done";
  }
  return "done";
}

for await (const line of console) console.log(await take(JSON.parse(line) as Step));
