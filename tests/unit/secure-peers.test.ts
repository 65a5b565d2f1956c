// Whole peers and a whole server, encrypted on loopback: who is named with which key, and who is believed.
// Invariant: a peer that is not the one that the server's list names gives nobody a byte.
// Never: waits for time to pass.

import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Peer, type PeerEvent, type PeerOptions } from "../../src/peer.ts";
import { type Address, formatAddress } from "../../src/protocol/address.ts";
import { proofOf } from "../../src/protocol/proof.ts";
import { createInvite } from "../../src/servidor/invites.ts";
import { networkOf, type ServidorEnv } from "../../src/servidor.ts";
import type { Connection } from "../../src/transport/connection.ts";
import { newSecurity, type Security } from "../../src/transport/security.ts";
import { createTcp } from "../../src/transport/tcp.ts";
import { closeAfterTest } from "../support/closing.ts";
import { codeOf, good } from "../support/good.ts";
import { askList, dial, joinOf, type Running, startServidor } from "../support/servidor.ts";
import { until } from "../support/until.ts";

setDefaultTimeout(60_000);

const before = process.env.NAPSTER_CACHE;
const root = fs.mkdtempSync(join(tmpdir(), "napster-secure-"));
process.env.NAPSTER_CACHE = join(root, "cache");
afterAll(() => {
  if (before === undefined) delete process.env.NAPSTER_CACHE;
  else process.env.NAPSTER_CACHE = before;
  fs.rmSync(root, { recursive: true, force: true });
});

const UPLOADS = { maxUploads: 8, rejectAll: false, maxUploadRate: undefined };
let turn = 0;

function startServer(
  env: Pick<Partial<ServidorEnv>, "listen" | "isMember" | "admit"> = {},
): Running & { readonly security: Security } {
  const security = newSecurity("always");
  return { ...startServidor({ ...networkOf(security), ...env }), security };
}

type Member = { readonly peer: Peer; readonly id: string; readonly folder: string; readonly events: PeerEvent[] };

function makePeer(
  server: PeerOptions["server"],
  files: Record<string, string> = {},
  options: Partial<PeerOptions> = {},
): Member {
  const security = newSecurity("always");
  const folder = join(root, `pasta ${turn++}`);
  fs.mkdirSync(folder);
  for (const [name, content] of Object.entries(files)) fs.writeFileSync(join(folder, name), content);
  const events: PeerEvent[] = [];
  const onEvent = (event: PeerEvent) => void events.push(event);
  const peer = new Peer({ server, uploads: UPLOADS, onEvent, security, ...options });
  closeAfterTest(() => peer.leave());
  return { peer, id: security.identity.id, folder, events };
}

async function enter(server: Address, files: Record<string, string> = {}): Promise<Member & { readonly at: Address }> {
  const member = makePeer(server, files);
  const { address } = good(await member.peer.join({ host: "127.0.0.1", port: 0, folder: member.folder }));
  return { ...member, at: address };
}

/** A program that answers each PROBE, with that key. */
function listenForProbes(security: Security) {
  const listener = good(
    createTcp(security).listen({ ip: "127.0.0.1", port: 0 }, (connection) => ({
      data(chunk) {
        const [, nonce = ""] = new TextDecoder().decode(chunk).trimEnd().split(" ");
        connection.send(`PROBE_OK ${proofOf(undefined, nonce)}\n`);
      },
      drain() {},
      end() {},
      close() {},
    })),
  );
  closeAfterTest(() => listener.close());
  return listener;
}

describe("among encrypted peers", () => {
  test("a list names each peer with its key, and a download from there arrives whole", async () => {
    const { address, security } = startServer();
    const sharer = await enter({ ...address, id: security.identity.id }, { "aula.mp4": "aula" });
    const taker = await enter({ ...address, id: security.identity.id });
    expect(good(await taker.peer.search("aula.mp4"))).toEqual([{ ...sharer.at, id: sharer.id }]);
    good(await taker.peer.download({ ip: "127.0.0.1", port: sharer.at.port })); // typed, as at the console
    expect(fs.readFileSync(join(taker.folder, "aula.mp4"), "utf8")).toBe("aula");
  });

  test("a server that was met is told once, with its key", async () => {
    const { address, security } = startServer();
    const { peer, events, folder } = makePeer(address);
    good(await peer.join({ host: "127.0.0.1", port: 0, folder }));
    good(await peer.join({ host: "127.0.0.1", port: 0, folder }));
    expect(events.filter(({ type }) => type === "server-met")).toEqual([
      { type: "server-met", id: security.identity.id },
    ]);
  });

  test("a wrong server is SERVER_KEY_CHANGED at JOIN, and does not hear a file's name", async () => {
    const { address, events } = startServer();
    const { peer, folder, id } = makePeer(address, { "segredo.mp4": "s" });
    const pinned = makePeer({ ...address, id }, { "segredo.mp4": "s" });
    const at = { host: "127.0.0.1", port: 0 };
    expect(codeOf(await pinned.peer.join({ ...at, folder: pinned.folder }))).toBe("SERVER_KEY_CHANGED");
    expect(events).toEqual([]);
    good(await peer.join({ ...at, folder }));
  });

  test("another program at a peer's address is WRONG_ID, and is asked for nothing", async () => {
    const { address } = startServer();
    const sharer = await enter(address, { "aula.mp4": "aula" });
    const taker = await enter(address);
    good(await taker.peer.search("aula.mp4"));
    await sharer.peer.leave();
    const heard: string[] = [];
    const impostor = createTcp(newSecurity("always"));
    const listener = good(
      impostor.listen(sharer.at, () => ({
        data: (chunk) => void heard.push(`${chunk}`),
        drain() {},
        end() {},
        close() {},
      })),
    );
    closeAfterTest(() => listener.close());
    expect(codeOf(await taker.peer.download(sharer.at))).toBe("WRONG_ID");
    expect(heard).toEqual([]);
    expect(fs.readdirSync(taker.folder)).toEqual([]);
  });
});

describe("a plain side and an encrypted one", () => {
  const at = { host: "127.0.0.1", port: 0 };
  const files = Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`${"nome ".repeat(40)}${i}.txt`, ""]));

  test.each([0, 300])("a plain peer with %i files at an encrypted server is told ENCRYPTION_NEEDED", async (count) => {
    const { address, events } = startServer();
    const security = newSecurity("never");
    const { peer, folder } = makePeer(address, count === 0 ? {} : files, { security });
    expect(codeOf(await peer.join({ ...at, folder }))).toBe("ENCRYPTION_NEEDED");
    expect(events).toEqual([]);
  });

  test("an encrypted peer at a plain server is told NOT_ENCRYPTED", async () => {
    const { address, events } = startServidor(networkOf(newSecurity("never")));
    const { peer, folder } = makePeer(address, { "a.txt": "a" });
    expect(codeOf(await peer.join({ ...at, folder }))).toBe("NOT_ENCRYPTED");
    expect(events.filter(({ type }) => type === "joined")).toEqual([]);
  });
});

/** A bare connection that shows a key of its own, and the lines that it hears. */
async function visit(server: Address): Promise<{ readonly connection: Connection; line(): Promise<string> }> {
  let text = "";
  const handlers = {
    data(chunk: Uint8Array) {
      text += new TextDecoder().decode(chunk);
    },
    drain() {},
    end() {},
    close() {},
  };
  const connection = good(await createTcp(newSecurity("always")).connect(server, () => handlers));
  closeAfterTest(() => connection.destroy());
  return {
    connection,
    async line() {
      await until("a line", () => text.includes("\n"));
      const [line = ""] = text.split("\n", 1);
      text = text.slice(line.length + 1);
      return line;
    },
  };
}

describe("an ID that claims another's address", () => {
  test("does not get it while the other is listed, and is in no list", async () => {
    const { address } = startServer();
    const sharer = await enter(address, { "aula.mp4": "aula" });
    const thief = await visit(address);
    thief.connection.send(joinOf(sharer.at.port, ["aula.mp4"], { key: "0".repeat(32) }));
    expect(await thief.line()).toStartWith("ERROR ADDRESS_TAKEN retry");
    thief.connection.send(joinOf(sharer.at.port, ["aula.mp4"]));
    expect(await thief.line()).toStartWith("ERROR ADDRESS_TAKEN retry");
    const taker = await enter(address);
    expect(good(await taker.peer.search("aula.mp4"))).toEqual([{ ...sharer.at, id: sharer.id }]);
  });

  test("is unreachable where a program with another key listens, whatever that one answers", async () => {
    const { address } = startServer();
    const listener = listenForProbes(newSecurity("always"));
    const claimer = await visit(address);
    claimer.connection.send(joinOf(listener.address.port, ["aula.mp4"]));
    expect(await claimer.line()).toBe(`JOIN_OK ${formatAddress(listener.address)} unreachable`);
    const taker = await enter(address);
    expect(good(await taker.peer.search("aula.mp4"))).toEqual([]);
  });
});

describe("a server with members", () => {
  test("lets those in whose key it knows, and tells another so, who may not even search", async () => {
    const ids = new Set<string>();
    const { address, events } = startServer({ isMember: (id) => ids.has(id ?? "") });
    const pupil = makePeer(address, { "aula.mp4": "aula" });
    const at = { host: "127.0.0.1", port: 0, folder: pupil.folder };
    expect(await pupil.peer.join(at)).toMatchObject({ fault: "NOT_MEMBER", whose: "theirs", retry: false });
    expect(events.map(({ type }) => type)).toEqual(["fault"]);
    const guest = await visit(address);
    guest.connection.send("JOIN 0.0.0.0:1 0 -\nSEARCH aula.mp4\n");
    expect(await guest.line()).toStartWith("ERROR NOT_MEMBER final");
    expect(await guest.line()).toStartWith("ERROR NOT_JOINED");
    ids.add(pupil.id);
    good(await pupil.peer.join(at));
  });

  /** A closed server with an invitation, whose time is `clock.now`. */
  function startInviting(people: number) {
    const ids = new Set<string>();
    const clock = { now: 0 };
    const add = (id: string) => void ids.add(id);
    const admit = createInvite({ code: CODE, people, until: 1000, now: () => clock.now, add });
    return { ...startServer({ isMember: (id) => ids.has(id ?? ""), admit }), ids, clock };
  }
  const CODE = "ABCDEFGHIJKLMNOPQRSTUVWX";
  const comer = (server: Address, invite: string | undefined) => {
    const security = newSecurity("always");
    const { peer, folder } = makePeer({ ...server, ...(invite !== undefined && { invite }) }, {}, { security });
    const { id } = security.identity;
    return { id, security, join: () => peer.join({ host: "127.0.0.1", port: 0, folder }) };
  };

  test("an invitation admits so many, who are members from then on, and no more", async () => {
    const { address, ids } = startInviting(2);
    const [first, second, third] = [comer(address, CODE), comer(address, CODE), comer(address, CODE)];
    good(await first.join());
    good(await first.join()); // counts once
    good(await second.join());
    expect(codeOf(await third.join())).toBe("NOT_MEMBER");
    expect([...ids]).toEqual([first.id, second.id]);
  });

  test("a wrong code, none, and one whose time is over admit nobody", async () => {
    const { address, ids, clock } = startInviting(9);
    expect(codeOf(await comer(address, CODE.replace("A", "B")).join())).toBe("NOT_MEMBER");
    expect(codeOf(await comer(address, undefined).join())).toBe("NOT_MEMBER");
    clock.now = 1000;
    expect(codeOf(await comer(address, CODE).join())).toBe("NOT_MEMBER");
    expect(ids.size).toBe(0);
  });

  test("the operator's removal holds against the invitation that had admitted", async () => {
    const { address, ids } = startInviting(9);
    const pupil = comer(address, CODE);
    good(await pupil.join());
    ids.clear();
    const again = makePeer({ ...address, invite: CODE }, {}, { security: pupil.security });
    expect(codeOf(await again.peer.join({ host: "127.0.0.1", port: 0, folder: again.folder }))).toBe("NOT_MEMBER");
  });

  test("a proof that was heard on one connection is worth nothing on another, and the code is in no line", async () => {
    const { address, ids } = startInviting(9);
    let heard = "";
    // A server in between that the peer takes for the right one, and that passes on what it hears.
    const between = good(
      createTcp(newSecurity("always")).listen({ ip: "127.0.0.1", port: 0 }, () => ({
        data(chunk) {
          heard += `${chunk}`;
        },
        drain() {},
        end() {},
        close() {},
      })),
    );
    closeAfterTest(() => between.close());
    void comer(between.address, CODE).join();
    await until("the JOIN", () => / [0-9a-f]{64}\n/.test(heard));
    expect(heard).not.toContain(CODE);
    const [, proof = ""] = / ([0-9a-f]{64})\n/.exec(heard) ?? [];
    const thief = await visit(address);
    thief.connection.send(`JOIN 0.0.0.0:1 0 - ${proof}\n`);
    expect(await thief.line()).toStartWith("ERROR NOT_MEMBER final");
    expect(ids.size).toBe(0);
  });

  test("asks no key of this machine in the clear", async () => {
    const server = startServer({ listen: createTcp("never").listen, isMember: () => false });
    const raw = await dial(server);
    raw.send("JOIN 0.0.0.0:1 0 -\n");
    expect(await raw.line()).toBe("JOIN_OK 127.0.0.1:1");
  });
});

test("a peer of the server's machine that came in the clear is listed with the key that is met at its address", async () => {
  const security = newSecurity("always");
  const server = startServer({ listen: createTcp("never").listen });
  const listener = listenForProbes(security);
  const raw = await dial(server);
  raw.send(joinOf(listener.address.port, ["aula.mp4"]));
  expect(await raw.line()).toBe(`JOIN_OK ${formatAddress(listener.address)}`);
  expect(await askList(raw, "SEARCH aula.mp4")).toBe(`${formatAddress(listener.address)} ${security.identity.id}\n`);
});
