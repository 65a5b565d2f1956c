// A program with few descriptors that greets whoever connects: what a listener does when they are out. Started by tests.
// It reads orders on stdin, a line each: "take" opens files until no descriptor is left, "give" closes them, "cpu" says
// how many milliseconds of CPU half a second takes, "listen" what listening at one more port comes to.

import { closeSync, openSync } from "node:fs";
import { isFault } from "../../src/protocol/fault.ts";
import { DEAF } from "../../src/transport/connection.ts";
import { listen } from "../../src/transport/tcp.ts";
import { good } from "./good.ts";

const listener = good(
  listen({ ip: "127.0.0.1", port: 0 }, (connection) => {
    connection.send("olá\n");
    return { data() {}, drain() {}, end: () => connection.end(), close() {} };
  }),
);
console.log(listener.address.port);

let files: number[] = [];
for await (const order of console) {
  if (order === "take") {
    try {
      for (;;) files.push(openSync("/dev/null", "r"));
    } catch {
      console.log("taken");
    }
  }
  if (order === "listen") {
    const again = listen({ ip: "127.0.0.1", port: 0 }, () => DEAF);
    console.log(isFault(again) ? again.fault : "listening");
    if (!isFault(again)) again.close();
  }
  if (order === "give") {
    for (const fd of files) closeSync(fd);
    files = [];
    console.log("given");
  }
  if (order === "cpu") {
    const before = process.cpuUsage();
    await Bun.sleep(500);
    const { user, system } = process.cpuUsage(before);
    console.log(Math.round((user + system) / 1000));
  }
}
