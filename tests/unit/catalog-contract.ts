// What every catalog must do, whatever it is made of: the suite that each implementation passes.

import { beforeEach, describe, expect, test } from "bun:test";
import type { Catalog, Member } from "../../src/catalog/contract.ts";
import type { Address } from "../../src/protocol/address.ts";
import { JOIN_NAMES_MAX } from "../../src/protocol/limits.ts";
import type { Share } from "../../src/protocol/messages.ts";
import { codeOf, good } from "../support/good.ts";

export const at = (port: number): Address => ({ ip: "127.0.0.1", port });
export const share = (name: string, root?: string, size = 1): Share => ({ name, size, root });
export const ROOT = "aa".repeat(32);
export const OTHER_ROOT = "bb".repeat(32);

/** `namesMax`: as many as the catalog lets one member have. */
export function describeCatalog(kind: string, make: () => Catalog, namesMax = JOIN_NAMES_MAX): void {
  describe(`${kind}: a catalog`, () => {
    let catalog: Catalog;
    beforeEach(() => {
      catalog = make();
    });
    const join = async (port: number, ...shares: Share[]): Promise<Member> =>
      good(await catalog.join(at(port), shares, undefined));

    test("finds whoever has exactly that name, in the order of joining, the asker too", async () => {
      await join(1, share("a.mp4"), share("b.mp4"));
      await join(2, share("a.mp4"));
      expect(await catalog.search("a.mp4")).toEqual([at(1), at(2)]);
      expect(await catalog.search("b.mp4")).toEqual([at(1)]);
      for (const near of ["A.mp4", "a.mp", "a.mp4 ", "a", "", "__proto__", "constructor"])
        expect(await catalog.search(near)).toEqual([]);
    });

    test("names a peer with its ID, where it has one, in every answer", async () => {
      const known = { ...at(1), id: "DT5BNTDJKEHLJYUU56A5QT6Z6YSM4HU4QQGLUTPPIRUKDTAL5XJA" };
      good(await catalog.join(known, [share("a.mp4", ROOT)], undefined));
      expect(await catalog.search("a.mp4")).toEqual([known]);
      expect(await catalog.sources(ROOT)).toEqual([{ address: known, complete: true }]);
    });

    test("names like those of an object's prototype are names like others", async () => {
      await join(1, share("__proto__"), share("constructor"));
      expect(await catalog.search("__proto__")).toEqual([at(1)]);
      expect(await catalog.search("toString")).toEqual([]);
    });

    test("forgets all of a member that leaves, and leaves the others alone", async () => {
      const gone = await join(1, share("a.mp4", ROOT), share("b.mp4"));
      await join(2, share("a.mp4", ROOT));
      await catalog.leave(gone);
      expect(await catalog.search("a.mp4")).toEqual([at(2)]);
      expect(await catalog.search("b.mp4")).toEqual([]);
      expect(await catalog.sources(ROOT)).toEqual([{ address: at(2), complete: true }]);
    });

    test("lets nothing be said in the name of a member that has left", async () => {
      const gone = await join(1);
      await catalog.leave(gone);
      await catalog.update(gone, share("a.mp4"));
      await catalog.offer(gone, share("a.mp4", ROOT));
      await catalog.withdraw(gone, "a.mp4");
      await catalog.leave(gone);
      expect(await catalog.search("a.mp4")).toEqual([]);
      expect(await catalog.sources(ROOT)).toEqual([]);
    });

    test("keeps nothing of a member that it does not know, which replaces and removes nobody", async () => {
      const stranger: Member = { address: at(1) };
      const known = await join(1, share("a.mp4", ROOT));
      await catalog.update(stranger, share("b.mp4", OTHER_ROOT));
      await catalog.offer(stranger, share("c.mp4", OTHER_ROOT));
      await catalog.withdraw(stranger, "a.mp4");
      await catalog.leave(stranger);
      expect(await catalog.sources(OTHER_ROOT)).toEqual([]);
      expect(await catalog.search("a.mp4")).toEqual([at(1)]);
      expect(codeOf(await catalog.join(at(1), [], stranger))).toBe("ADDRESS_TAKEN");
      good(await catalog.join(at(2), [share("a.mp4")], stranger));
      expect(await catalog.search("a.mp4")).toEqual([at(1), at(2)]);
      await catalog.leave(known);
      expect(await catalog.search("a.mp4")).toEqual([at(2)]);
    });

    test("a member that has left cannot touch the one that took its address", async () => {
      const gone = await join(1, share("a.mp4"));
      await catalog.leave(gone);
      await join(1, share("b.mp4"));
      await catalog.withdraw(gone, "b.mp4");
      await catalog.leave(gone);
      expect(await catalog.search("b.mp4")).toEqual([at(1)]);
    });

    test("refuses the address of a live member, and changes nothing then", async () => {
      await join(1, share("a.mp4"));
      expect(codeOf(await catalog.join(at(1), [share("b.mp4")], undefined))).toBe("ADDRESS_TAKEN");
      expect(await catalog.search("a.mp4")).toEqual([at(1)]);
      expect(await catalog.search("b.mp4")).toEqual([]);
    });

    test("moves a member that joins again, to the same address or another", async () => {
      const first = await join(1, share("a.mp4", ROOT));
      const second = good(await catalog.join(at(1), [share("b.mp4")], first));
      expect(await catalog.search("a.mp4")).toEqual([]);
      expect(await catalog.sources(ROOT)).toEqual([]);
      good(await catalog.join(at(2), [share("c.mp4")], second));
      expect(await catalog.search("b.mp4")).toEqual([]);
      expect(await catalog.search("c.mp4")).toEqual([at(2)]);
      expect(codeOf(await catalog.join(at(1), [], undefined))).toBe("no fault");
    });

    test("a move to somebody else's address changes nothing", async () => {
      const mover = await join(1, share("a.mp4"));
      await join(2);
      expect(codeOf(await catalog.join(at(2), [share("b.mp4")], mover))).toBe("ADDRESS_TAKEN");
      expect(await catalog.search("a.mp4")).toEqual([at(1)]);
      await catalog.update(mover, share("c.mp4"));
      expect(await catalog.search("c.mp4")).toEqual([at(1)]);
    });

    test("UPDATE adds a file, once, however often it is said, and may give it another root (SPEC 4.d)", async () => {
      const member = await join(1);
      for (const root of [undefined, ROOT, ROOT, OTHER_ROOT]) await catalog.update(member, share("a.mp4", root));
      expect(await catalog.search("a.mp4")).toEqual([at(1)]);
      expect(await catalog.sources(ROOT)).toEqual([]);
      expect(await catalog.sources(OTHER_ROOT)).toEqual([{ address: at(1), complete: true }]);
    });

    test("a name that a JOIN repeats counts once, as its last line says", async () => {
      await join(1, share("a.mp4", ROOT), share("b.mp4"), share("a.mp4", OTHER_ROOT));
      expect(await catalog.search("a.mp4")).toEqual([at(1)]);
      expect(await catalog.sources(ROOT)).toEqual([]);
      expect(await catalog.sources(OTHER_ROOT)).toEqual([{ address: at(1), complete: true }]);
    });

    test("of one member UPDATE and OFFER keep as many names as a JOIN may hold, and WITHDRAW makes room again", async () => {
      const names = Array.from({ length: namesMax - 1 }, (_, i) => share(`${i}.mp4`));
      const member = await join(1, ...names);
      expect(codeOf(await catalog.update(member, share("last.mp4")))).toBe("no fault");
      expect(codeOf(await catalog.update(member, share("more.mp4")))).toBe("TOO_MANY");
      expect(codeOf(await catalog.offer(member, share("more.mp4", ROOT)))).toBe("TOO_MANY");
      expect(codeOf(await catalog.update(member, share("last.mp4", ROOT)))).toBe("no fault");
      expect(await catalog.search("more.mp4")).toEqual([]);
      await catalog.withdraw(member, "0.mp4");
      await catalog.withdraw(member, "0.mp4");
      expect(codeOf(await catalog.update(member, share("more.mp4")))).toBe("no fault");
      expect(codeOf(await catalog.update(member, share("yet more.mp4")))).toBe("TOO_MANY");
    });

    test("WITHDRAW takes out one file of one member", async () => {
      const member = await join(1, share("a.mp4", ROOT), share("copy.mp4", ROOT));
      await join(2, share("a.mp4"));
      await catalog.withdraw(member, "a.mp4");
      await catalog.withdraw(member, "never there.mp4");
      expect(await catalog.search("a.mp4")).toEqual([at(2)]);
      expect(await catalog.sources(ROOT)).toEqual([{ address: at(1), complete: true }]);
      await catalog.withdraw(member, "copy.mp4");
      expect(await catalog.sources(ROOT)).toEqual([]);
    });

    test("who is still downloading is a source, and not in SEARCH", async () => {
      const partial = await join(1);
      await join(2, share("a.mp4", ROOT));
      await catalog.offer(partial, share("a.mp4", ROOT));
      expect(await catalog.search("a.mp4")).toEqual([at(2)]);
      expect(await catalog.sources(ROOT)).toEqual([
        { address: at(2), complete: true },
        { address: at(1), complete: false },
      ]);
      await catalog.update(partial, share("a.mp4", ROOT));
      expect((await catalog.search("a.mp4")).map(({ port }) => port).sort()).toEqual([1, 2]);
      expect(await catalog.sources(ROOT)).toContainEqual({ address: at(1), complete: true });
    });

    test("an offer never takes a whole file away", async () => {
      const member = await join(1, share("a.mp4", ROOT));
      await catalog.offer(member, share("a.mp4", ROOT));
      expect(await catalog.search("a.mp4")).toEqual([at(1)]);
      expect(await catalog.sources(ROOT)).toEqual([{ address: at(1), complete: true }]);
    });

    test("one content under two names of one member is one source, whole if either is", async () => {
      const member = await join(1, share("a.mp4", ROOT));
      await catalog.offer(member, share("b.mp4", ROOT));
      expect(await catalog.sources(ROOT)).toEqual([{ address: at(1), complete: true }]);
      await catalog.withdraw(member, "a.mp4");
      expect(await catalog.sources(ROOT)).toEqual([{ address: at(1), complete: false }]);
    });

    test("a name that stands twice in a JOIN is one entry, the last", async () => {
      await join(1, share("a.mp4", ROOT), share("a.mp4", OTHER_ROOT));
      expect(await catalog.search("a.mp4")).toEqual([at(1)]);
      expect(await catalog.sources(ROOT)).toEqual([]);
    });

    test(`${namesMax} entries of which half replace the other half take time in proportion, no more`, async () => {
      const root = (i: number) => i.toString(16).padStart(64, "0");
      const shares = Array.from({ length: namesMax }, (_, i) => share(`${i % (namesMax / 2)}.mp4`, root(i)));
      const member = await join(1, ...shares);
      for (let i = 0; i < 1000; i++) await catalog.update(member, share(`${i}.mp4`, root(300_000 + i)));
      expect(await catalog.sources(root(300_999))).toEqual([{ address: at(1), complete: true }]);
      expect(await catalog.sources(root(0))).toEqual([]);
    });
  });
}
