// A peer: it joins the server with a folder's files, serves them to others, and searches and downloads for a person.
// Invariant: what the server, the upload thread and the library know of our files is the same, from JOIN on.
// Never: prints or asks; the console does. Never moves a file's bytes on this thread (DESIGN 5).

import { listFolder, type Skipped } from "./content/folder.ts";
import { createHashCache } from "./content/hash-cache.ts";
import { createHashPool } from "./content/hash-pool.ts";
import { createHasher } from "./content/hasher.ts";
import { hasFile } from "./content/inside.ts";
import { createLibrary, type Held, type Library } from "./content/library.ts";
import { openWorkplace } from "./content/workplace.ts";
import type { Done, DownloadRequest, JoinAt, Joined, NotJoined } from "./peer/requests.ts";
import { type Address, AS_SEEN, LOOPBACK, sameAddress } from "./protocol/address.ts";
import { type Fault, fault, isFault } from "./protocol/fault.ts";
import type { Found, Holder, Root } from "./protocol/messages.ts";
import { nameFlaw } from "./protocol/names.ts";
import { decodeAddresses, decodeHolders } from "./protocol/payloads.ts";
import { download } from "./transfer/download.ts";
import { createLaneThreads } from "./transfer/lane-threads.ts";
import { createOffers } from "./transfer/offers.ts";
import { stockOf, stocksOf } from "./transfer/stock.ts";
import { startUploadThread, type UploadThread } from "./transfer/upload-thread.ts";
import type { UploadsEvent } from "./transfer/uploads.ts";
import { expectReply } from "./transport/caller.ts";
import { systemClock } from "./transport/clock.ts";
import { findWords } from "./transport/find.ts";
import { localIp } from "./transport/route.ts";
import { createServerLink, type Entered, type ServerLink } from "./transport/server-link.ts";
import { connect } from "./transport/tcp.ts";

export type { Done, DownloadRequest, JoinAt, Joined, NotJoined } from "./peer/requests.ts";
export type { Progress, Waiting } from "./transfer/progress.ts";

export type PeerEvent =
  | { readonly type: "server-lost" }
  | { readonly type: "server-back"; readonly address: Address }
  /** Others can connect to us, or no longer can, as the server finds; what JOIN says of it is not repeated here. */
  | { readonly type: "reach"; readonly reached: boolean; readonly address: Address }
  /** Files in the folder that cannot be shared. */
  | { readonly type: "skipped"; readonly files: readonly Skipped[] }
  /** A file that was shared is no longer: it changed, is gone, or cannot be read. */
  | { readonly type: "withdrawn"; readonly name: string }
  | { readonly type: "uploaded"; readonly name: string; readonly to: Address; readonly bytes: number }
  | { readonly type: "hashed"; readonly name: string; readonly root: string };

export type PeerOptions = {
  readonly server: Address;
  readonly maxUploads: number;
  readonly rejectAll: boolean;
  /** Bytes per second for all uploads together, and for a download; no limit when not given. */
  readonly maxUploadRate?: number | undefined;
  readonly maxDownloadRate?: number | undefined;
  /** Bytes per second below which an upload loses its slot, and seconds without a byte that end a lane. */
  readonly minUploadRate?: number | undefined;
  readonly stallSeconds?: number | undefined;
  readonly onEvent: (event: PeerEvent) => void;
};

/** Where we are in: the folder as the person typed it, what it holds, where we listen. */
type Place = {
  readonly typed: string | undefined;
  readonly library: Library;
  readonly listening: Address;
  readonly published: Address;
};

/** One thread hashes and writes while the other receives; more gained nothing on two cores. */
const LANE_THREADS = 2;

export class Peer {
  readonly #options: PeerOptions;
  readonly #link: ServerLink;
  readonly #cache = createHashCache();
  readonly #hasher = createHasher({ cache: this.#cache });
  readonly #key = crypto.getRandomValues(new Uint8Array(16)).toHex();
  #uploads: UploadThread | undefined;
  #place: Place | undefined;
  #lastSearched: string | undefined;
  readonly #offers = createOffers((request) => void this.#link.call(request));

  constructor(options: PeerOptions) {
    this.#options = options;
    this.#link = createServerLink({
      server: options.server,
      connect,
      clock: systemClock,
      random: Math.random,
      shares: () => this.#place?.library.shares() ?? [],
      key: this.#key,
      onListed: () => this.#offers.renew(),
      onReach: (reached, address) => options.onEvent({ type: "reach", reached, address }),
      onLost: () => options.onEvent({ type: "server-lost" }),
      onBack: (address) => {
        this.#offers.renew();
        options.onEvent({ type: "server-back", address });
      },
    });
  }

  get lastSearched(): string | undefined {
    return this.#lastSearched;
  }

  /** The IP by which this machine reaches the server: what others can connect to. 127.0.0.1 when there is no way there. */
  async localIp(): Promise<string> {
    return (await localIp(this.#options.server.ip)) ?? LOOPBACK;
  }

  /** SPEC 5.b, 5.i: enters the network with a folder, or moves there when already in. On a fault nothing has changed. */
  async join(at: JoinAt): Promise<Joined | NotJoined> {
    const listing = await listFolder(at.folder);
    if (isFault(listing)) return listing;
    this.#options.onEvent({ type: "skipped", files: listing.skipped });
    const library = createLibrary({
      listing,
      cache: this.#cache,
      hasher: this.#hasher,
      onHashed: (held) => void this.#announce(library, held),
      onLost: (name) => this.#withdraw(library, name),
    });
    const before = this.#place;
    // SPEC 5.a: uploads have a thread of their own, so that other peers are answered whatever this one is doing.
    const { maxUploads, rejectAll, maxUploadRate, minUploadRate } = this.#options;
    const policy = { maxUploads, rejectAll, maxUploadRate, minUploadRate };
    this.#uploads ??= startUploadThread(policy, this.#key, (event) => this.#hearUploads(event));
    this.#uploads.restock(stocksOf(library));
    const listening = await this.#uploads.listen({ ip: at.host ?? (await this.localIp()), port: at.port });
    if (isFault(listening)) {
      await this.#goBack(library, before);
      return listening;
    }
    this.#place = { typed: at.folder, library, listening, published: listening };
    const entered = await this.#enter(listening, at);
    if (isFault(entered)) {
      await this.#goBack(library, before);
      return { ...entered, at: listening };
    }
    this.#place = { ...this.#place, published: entered.address };
    before?.library.close();
    this.#offers.renew(); // a JOIN leaves the server with nothing but what it carries
    void library.hashAll();
    return { ...entered, names: library.names };
  }

  /** SPEC 5.d: the peers that have exactly this file. It becomes the file that DOWNLOAD is about. */
  async search(name: string): Promise<readonly Address[] | Fault> {
    const exact = name.normalize("NFC");
    const flaw = nameFlaw(exact);
    if (flaw !== undefined) return fault("BAD_NAME", "ours", flaw);
    const answer = expectReply(await this.#link.call({ verb: "SEARCH", name: exact }), "SEARCH_OK");
    if (isFault(answer)) return answer;
    this.#lastSearched = exact;
    return decodeAddresses(answer.payload);
  }

  /** The contents that have all of these words in a name, those with most sources first; at most `most`. */
  find(words: string, most: number): Promise<readonly Found[] | Fault> {
    return findWords(this.#link, words, most);
  }

  /** SPEC 5.f, 5.h: the file from that peer into our own folder, verified; then UPDATE by itself. */
  async download(from: Address, request: DownloadRequest = {}): Promise<Done | Fault> {
    const place = this.#place;
    const uploads = this.#uploads;
    if (place?.typed === undefined || uploads === undefined) return fault("NOT_JOINED", "ours", "DOWNLOAD before JOIN");
    const name = request.name?.normalize("NFC") ?? this.#lastSearched;
    if (name === undefined) return fault("NOT_SEARCHED", "ours", "DOWNLOAD before SEARCH");
    const flaw = nameFlaw(name);
    if (flaw !== undefined) return fault("BAD_NAME", "ours", flaw);
    if (await hasFile(place.library.folder, name)) return fault("FILE_EXISTS", "ours", "the folder has this file");
    const threads = createLaneThreads(LANE_THREADS, this.#options);
    const rechecking = createHashPool(1);
    const downloaded = await download({
      name,
      from,
      only: request.only ?? false,
      maxWaitSeconds: request.maxWaitSeconds ?? Number.POSITIVE_INFINITY,
      openWorkplace: (wanted) => openWorkplace(place.library.folder, wanted),
      openLane: threads.open,
      hashPieces: (fd) => (head, first, pieces) => rechecking.run({ ...head, fd, first, pieces }),
      findHolders: (root) => this.#findHolders(root),
      offer: (content) => this.#offers.begin(uploads, place.library.folder, name, content),
      random: Math.random,
      self: place.published,
      maxDownloadRate: this.#options.maxDownloadRate,
      connect,
      clock: systemClock,
      signal: request.signal,
      onProgress: request.onProgress,
      onSourceLost: request.onSourceLost,
    });
    threads.close();
    rechecking.close();
    if (isFault(downloaded)) return downloaded;
    const held = await place.library.add(name, downloaded);
    if (held !== undefined) await this.#announce(place.library, held);
    return { name, folder: place.typed, bytes: downloaded.size };
  }

  /** Tells the server goodbye and stops serving. */
  async leave(): Promise<void> {
    await this.#link.leave();
    this.#place?.library.close();
    this.#place = undefined;
    const uploads = this.#uploads;
    this.#uploads = undefined;
    await uploads?.close();
    this.#hasher.close();
    this.#cache.close();
  }

  /** Behind a router the server sees another address than this machine has; it counts when no other was asked for. */
  async #enter(listening: Address, { host, listing }: JoinAt): Promise<Entered | Fault> {
    const entered = await this.#link.join(listening, listing);
    if (host !== undefined || !isFault(entered) || entered.fault !== "ADDRESS_MISMATCH") return entered;
    return this.#link.join({ ...listening, ip: AS_SEEN }, listing);
  }

  async #findHolders(root: Root): Promise<Holder[]> {
    const answer = expectReply(await this.#link.call({ verb: "SOURCES", root }), "SOURCES_OK");
    const holders = isFault(answer) ? [] : decodeHolders(answer.payload);
    const ours = this.#place?.published;
    return isFault(holders) ? [] : holders.filter(({ address }) => ours === undefined || !sameAddress(address, ours));
  }

  /**
   * SPEC 5.c: UPDATE tells the server of a file that is whole here, and of its root once it is known. While the server
   * is away there is nobody to tell; the next JOIN will.
   */
  async #announce(library: Library, held: Held): Promise<void> {
    if (this.#place?.library !== library) return;
    this.#uploads?.stock(stockOf(library, held));
    const { root } = held;
    const { name, size } = held.local;
    if (root !== undefined) this.#options.onEvent({ type: "hashed", name, root });
    await this.#link.call({ verb: "UPDATE", share: { name, size, root } });
  }

  /** A JOIN that failed: what was served before is served again, where it was. */
  async #goBack(tried: Library, before: Place | undefined): Promise<void> {
    tried.close();
    this.#place = before;
    this.#uploads?.restock(stocksOf(before?.library));
    if (before !== undefined) await this.#uploads?.listen(before.listening);
  }

  #hearUploads(event: UploadsEvent): void {
    const library = this.#place?.library;
    if (event.type === "uploaded") this.#options.onEvent(event);
    else if (event.type === "wanted") library?.want(event.name);
    else if (library !== undefined) this.#withdraw(library, event.name);
  }

  /** A file is no longer what was announced: nobody else shall be sent here for it. */
  #withdraw(library: Library, name: string): void {
    if (this.#place?.library !== library || !library.remove(name)) return;
    this.#uploads?.remove(name);
    void this.#link.call({ verb: "WITHDRAW", name });
    this.#options.onEvent({ type: "withdrawn", name });
  }
}
