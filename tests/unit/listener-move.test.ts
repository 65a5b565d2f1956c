// Where a peer listens while it moves, over listeners that a test holds.
// Invariant: after every move that came to nothing exactly what was open before is open.
// Never: opens a real port.

import { beforeEach, describe, expect, test } from "bun:test";
import { type Address, formatAddress } from "../../src/protocol/address.ts";
import { type Fault, fault, isFault } from "../../src/protocol/fault.ts";
import { createMovableListener, type MovableListener } from "../../src/transport/listener-move.ts";
import { codeOf } from "../support/good.ts";

const at = (port: number, ip = "127.0.0.1"): Address => ({ ip, port });

let open: Address[];
let refused: (to: Address) => Fault | undefined;
let listener: MovableListener;

beforeEach(() => {
  open = [];
  refused = () => undefined;
  listener = createMovableListener((to) => {
    const clash = open.some(({ ip, port }) => port === to.port && (ip === to.ip || [ip, to.ip].includes("0.0.0.0")));
    const why = refused(to) ?? (clash ? fault("PORT_IN_USE", "ours") : undefined);
    if (why !== undefined) return why;
    open.push(to);
    return {
      address: to,
      close() {
        open.splice(open.indexOf(to), 1);
      },
    };
  });
});

const opened = (): string[] => open.map(formatAddress).sort();

/** A place that was taken and kept. */
function settled(to: Address): void {
  expect(isFault(listener.take(to))).toBe(false);
  expect(listener.settle(true)).toBeUndefined();
  expect(opened()).toEqual([formatAddress(to)]);
}

describe("a listener that moves", () => {
  test("a listener that moves listens at both addresses until the move is settled, then at the new one or at the old one", () => {
    for (const keep of [true, false]) {
      settled(at(1));
      listener.take(at(2));
      expect(opened()).toEqual(["127.0.0.1:1", "127.0.0.1:2"]);
      expect(listener.settle(keep)).toBeUndefined();
      expect(opened()).toEqual([keep ? "127.0.0.1:2" : "127.0.0.1:1"]);
      listener.close();
      expect(opened()).toEqual([]);
      listener = createMovableListener((to) => {
        open.push(to);
        return { address: to, close: () => void open.splice(open.indexOf(to), 1) };
      });
    }
  });

  test("a listener that moves to where it is stays there, kept or not", () => {
    settled(at(1));
    for (const keep of [true, false, true]) {
      expect(listener.take(at(1))).toEqual(at(1));
      expect(listener.settle(keep)).toBeUndefined();
      expect(opened()).toEqual(["127.0.0.1:1"]);
    }
  });

  test("a listener that moves gives up its own port for the same port of another address, and takes it back when that comes to nothing", () => {
    for (const keep of [false, true]) {
      settled(at(1));
      expect(listener.take(at(1, "0.0.0.0"))).toEqual(at(1, "0.0.0.0"));
      expect(opened()).toEqual(["0.0.0.0:1"]);
      expect(listener.settle(keep)).toBeUndefined();
      expect(opened()).toEqual([keep ? "0.0.0.0:1" : "127.0.0.1:1"]);
    }
  });

  test("a listener that another program's port refuses is where it was at once", () => {
    settled(at(1));
    open.push(at(2));
    expect(codeOf(listener.take(at(2)))).toBe("PORT_IN_USE");
    expect(opened()).toEqual(["127.0.0.1:1", "127.0.0.1:2"]);
    refused = ({ ip }) => (ip === "0.0.0.0" ? fault("PORT_IN_USE", "ours") : undefined);
    expect(codeOf(listener.take(at(1, "0.0.0.0")))).toBe("PORT_IN_USE");
    expect(opened()).toEqual(["127.0.0.1:1", "127.0.0.1:2"]);
    expect(listener.settle(false)).toBeUndefined();
  });

  test("a listener that moves says so when it cannot listen again at the address before", () => {
    settled(at(1));
    listener.take(at(1, "0.0.0.0"));
    refused = () => fault("PORT_IN_USE", "ours");
    expect(codeOf(listener.settle(false))).toBe("PORT_IN_USE");
    expect(opened()).toEqual([]);
    expect(listener.settle(false)).toBeUndefined();
  });

  test("a listener that tries one address after another leaves none of them behind", () => {
    settled(at(1));
    for (const port of [2, 3, 4]) listener.take(at(port));
    expect(opened()).toEqual(["127.0.0.1:1", "127.0.0.1:4"]);
    listener.settle(false);
    expect(opened()).toEqual(["127.0.0.1:1"]);
  });
});
