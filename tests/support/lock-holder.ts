// A process of its own that tries to take the lock on a name: says "held" or the fault, and holds it until its input ends.

import { takeLock } from "../../src/content/lock.ts";
import { isFault } from "../../src/protocol/fault.ts";

const [folder = "", name = "", user] = process.argv.slice(2);
if (user !== undefined) process.setuid?.(Number(user));
const lock = await takeLock(folder, name);
console.log(isFault(lock) ? lock.fault : "held");
await Bun.stdin.text();
if (!isFault(lock)) await lock.release();
