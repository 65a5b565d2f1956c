// This server's stay in the shared index: it comes in with all that it has, holds its lease, and comes again when it was lost.
// Invariant: one name for each time that it comes in; what was written under an earlier one is never renewed.
// Never: keeps a caller waiting, or comes in before all that its peers have can be read there.

import { createIndexStore, type IndexStore } from "./index-store.ts";
import type { Publisher } from "./publisher.ts";
import { openNodes, type Probe, parseIndexUrl, type RedisTrouble, troubleOf } from "./redis-nodes.ts";
import type { Replica } from "./replica.ts";

const BEAT_MS = 1000;
/** Who has lost something comes again soon: others show it until its lease is over. */
const AFTER_LOSS_MS = 100;

export type RedisEvent = { readonly type: "away"; readonly trouble: RedisTrouble } | { readonly type: "back" };

export type IndexLink = {
  /** Our name in the index while we are in it. */
  readonly name: string | undefined;
  /** Who is in, asked anew. */
  countAgain(): Promise<void>;
  close(): Promise<void>;
};

export type IndexLinkOptions = {
  readonly url: string;
  readonly probe: Probe;
  readonly publisher: Publisher;
  readonly replica: Replica;
  /** Milliseconds of a clock of this machine that is never set. */
  readonly now: () => number;
  readonly onEvent: (event: RedisEvent) => void;
};

/** One stay: its name, how much was written under it, and what ends it. */
type Stay = {
  readonly name: string;
  readonly store: IndexStore;
  isIn: boolean;
  /** Batches that are written, and fields that they have left. */
  batches: number;
  fields: number;
  /** One after another: batches, and what is compared with them. */
  turn: Promise<unknown>;
  isOver: boolean;
  readonly end: (error: unknown) => void;
};

/** Something of ours was lost at an index that answers: nothing is away. */
const isLoss = (error: unknown): boolean => /^our /.test((error as { message?: string }).message ?? "");

export function createIndexLink({ url, probe, publisher, replica, now, onEvent }: IndexLinkOptions): IndexLink {
  const target = parseIndexUrl(url) ?? { url, seeds: [new URL(url).host] };
  let seeds = target.seeds;
  let stay: Stay | undefined;
  let told: string | undefined; // what the operator knows
  let isClosed = false;
  let wake = (): void => {};

  /** One stay from its beginning to what ends it, which it rejects with. */
  async function stayOnce(): Promise<never> {
    const { promise: ended, reject } = Promise.withResolvers<never>();
    ended.catch(() => {}); // a stay may end before it is waited for
    const nodes = await openNodes({ url: target.url, seeds, probe, onClosed: () => void beat() });
    const store = createIndexStore(nodes);
    const name = crypto.randomUUID();
    const here: Stay = {
      ...{ name, store, isIn: false, isOver: false },
      ...{ batches: 0, fields: 0, turn: Promise.resolve() },
      end(error) {
        here.isOver = true;
        reject(error);
      },
    };
    try {
      if (isClosed) throw new Error("closed");
      seeds = nodes.known();
      stay = here;
      await countAgain();
      const timer = setInterval(() => void beat(), BEAT_MS * (0.75 + Math.random() / 4)); // not all servers at once
      ended.catch(() => clearInterval(timer));
      void replica.follow(store, () => here.isOver).catch(here.end);
      void comeIn(here, { publisher, replica, now }).then(tellWhenBack, here.end);
      return await ended;
    } finally {
      stay = undefined;
      publisher.stop();
      nodes.close();
      here.end(new Error("over"));
    }
  }

  function tellWhenBack(): void {
    if (told === undefined || !stay?.isIn || !replica.isWhole) return;
    told = undefined;
    onEvent({ type: "back" });
  }

  async function countAgain(): Promise<void> {
    const here = stay;
    if (here === undefined) return;
    const { name, store } = here;
    const askedAt = now();
    const census = here.isIn ? await store.stay(name, here.batches) : await store.look();
    if (stay === here) replica.meet(census, askedAt);
  }

  /** Once a second: our lease goes on, and what stands there of ours is what we wrote. */
  let beating = false;
  async function beat(): Promise<void> {
    const here = stay;
    if (here === undefined || beating) return;
    beating = true;
    try {
      replica.expire(now());
      await countAgain();
      await compare(here);
      tellWhenBack();
    } catch (error) {
      here.end(error);
    }
    beating = false;
  }

  async function live(): Promise<void> {
    while (!isClosed) {
      const error = await stayOnce().catch((reason: unknown) => reason);
      if (isClosed) return;
      if (!isLoss(error)) tell(troubleOf(error));
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, isLoss(error) ? AFTER_LOSS_MS : BEAT_MS);
        wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      replica.expire(now());
    }
  }

  function tell(trouble: RedisTrouble): void {
    if (told !== trouble.why) onEvent({ type: "away", trouble });
    told = trouble.why;
  }

  void live();

  return {
    get name() {
      return stay?.isIn ? stay.name : undefined;
    },
    countAgain,
    async close() {
      const here = stay;
      isClosed = true;
      wake();
      // Polite, and not needed: the lease would end it too.
      if (here?.isIn) await here.store.leave(here.name).catch(() => {});
      here?.end(new Error("closed"));
    },
  };
}

/** After what was begun before. */
function inTurn<T>(of: Stay, work: () => Promise<T>): Promise<T> {
  const mine = of.turn.then(work);
  of.turn = mine.catch(() => {});
  return mine;
}

/** Writes all that our peers have, and then comes in. */
async function comeIn(
  here: Stay,
  { publisher, replica, now }: Pick<IndexLinkOptions, "publisher" | "replica" | "now">,
): Promise<void> {
  const { name, store } = here;
  const write = (changes: Parameters<IndexStore["write"]>[2]): Promise<void> =>
    inTurn(here, async () => {
      here.fields += await store.write(name, here.batches + 1, changes);
      here.batches++;
      if (here.isIn) await store.log(name, here.batches, changes);
    });
  await write([]); // others can tell a server without peers from one whose entries are lost
  await publisher.begin(write, here.end);
  if (here.isOver) return;
  await inTurn(here, async () => {
    const askedAt = now();
    replica.meet(await store.come(name, here.batches), askedAt);
    here.isIn = true;
    await store.log(name, here.batches, []);
  });
}

/** What stands there of ours stays, and is what we wrote. */
function compare(here: Stay): Promise<void> {
  return inTurn(here, async () => {
    if (here.batches === 0) return;
    const { batches, fields } = await here.store.renew(here.name);
    if (batches !== here.batches || fields !== here.fields) throw new Error("our entries are lost");
  });
}
