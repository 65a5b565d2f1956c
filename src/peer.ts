// A peer: it joins the server with a folder's files, serves them to others, and searches and downloads for a person.
// Invariant: what the server, the upload thread and the library know of our files is the same, from JOIN on.
// Never: prints or asks; the console does. Never moves a file's bytes on this thread (ADR 0007).

import { emptyListing, isDotFile, type Listing, type Skipped } from "./content/folder.ts";
import type { FolderChange, FolderWatch } from "./content/folder-watch.ts";
import { createHasher } from "./content/hashing/hasher.ts";
import { isPieceDamaged } from "./content/hashing/verify.ts";
import { createLibrary, type Hashing, type Library, type LibraryFile } from "./content/library.ts";
import { NO_OFFER } from "./content/part-workspace.ts";
import { finalPath } from "./content/safe-files.ts";
import { download } from "./download/download.ts";
import { createAnnouncements } from "./peer/announcements.ts";
import { createDamage } from "./peer/damage.ts";
import { createDownloads, type Downloads } from "./peer/downloads.ts";
import { type PeerEnv, systemEnv } from "./peer/env.ts";
import { type FoundWords, findWords } from "./peer/find.ts";
import { createRefusals } from "./peer/refusals.ts";
import type { Done, DownloadRequest, JoinAt, Joined, NotJoined, Sharing } from "./peer/requests.ts";
import { createRouterMapping, type RouterMapping } from "./peer/router-mapping.ts";
import type { Entered, InvitedTo } from "./peer/server-connection.ts";
import { createServerLink, type ServerLink } from "./peer/server-link.ts";
import { pinServer, type ServerMet } from "./peer/server-pin.ts";
import { watchSharedFolder, withoutWritten } from "./peer/shared-folder.ts";
import { createPlays } from "./play/plays.ts";
import type { Mapped } from "./port-mapping/port-mapper.ts";
import { type Address, AS_SEEN, LOOPBACK, sameAddress } from "./protocol/address.ts";
import { type Fault, fault, isFault } from "./protocol/fault.ts";
import { JOIN_NAMES_MAX } from "./protocol/limits.ts";
import type { Holder, Root, Share } from "./protocol/messages.ts";
import { nameFlaw } from "./protocol/names.ts";
import { decodeAddresses, decodeHolders, fitting } from "./protocol/payloads.ts";
import { createSharedRate, type SharedRate, setSharedRate } from "./shared/shared-rate.ts";
import { expectReply } from "./transport/caller.ts";
import { localIp } from "./transport/route.ts";
import type { Security } from "./transport/security.ts";
import { freePort } from "./transport/tcp.ts";
import { createPartialShares } from "./upload/partial-shares.ts";
import type { Uploading } from "./upload/responder.ts";
import { entriesOf, entryOf } from "./upload/share-entry.ts";
import type { UploadLimits, UploadPolicy, UploadsEvent } from "./upload/upload-server.ts";
import type { UploadThread } from "./upload/upload-thread.ts";

export type { Progress, Waiting } from "./download/progress.ts";
export type { Done, DownloadRequest, JoinAt, Joined, NotJoined } from "./peer/requests.ts";
export { resolveHost } from "./transport/route.ts";

export type PeerEvent =
  | ServerMet
  | { readonly type: "server-lost" }
  /** It is in, or has moved: where others reach it, and whether they do. The folder as the person typed it. */
  | {
      readonly type: "joined";
      readonly address: Address;
      readonly folder: string | undefined;
      readonly reached: boolean;
    }
  | { readonly type: "server-back"; readonly address: Address }
  /**
   * Others can connect to us, or no longer can, as the server finds; what JOIN says of it is not repeated here.
   * `through`: by a port of our router.
   */
  | { readonly type: "reach"; readonly reached: boolean; readonly address: Address; readonly through?: Mapped }
  /** Others cannot connect to us, and no router gave a port. */
  | { readonly type: "unmapped" }
  /** Files in the folder that cannot be shared. */
  | { readonly type: "skipped"; readonly files: readonly Skipped[] }
  /** The server takes no more than `shared` files of ours: so many others of the folder are not shared. */
  | { readonly type: "left-out"; readonly shared: number; readonly count: number }
  /** Files have appeared in the folder, and are shared; `total` files are by now. */
  | { readonly type: "shared"; readonly names: readonly string[]; readonly total: number }
  /** Files that were shared are no longer: they changed, or are gone. */
  | { readonly type: "withdrawn"; readonly names: readonly string[]; readonly total: number }
  /** A piece of a file is not on the disk as it was hashed: it is shared no longer. */
  | { readonly type: "damaged"; readonly name: string; readonly piece: number }
  /** Files that were withdrawn are shared again. */
  | { readonly type: "returned"; readonly names: readonly string[]; readonly total: number }
  /** The server did not take what UPDATE told it of this file, and of `count` in all; told once for each file until it does. */
  | { readonly type: "refused"; readonly name: string; readonly why: Fault; readonly count: number }
  /** Peers may be missing in what the server answered: it is without the index that it shares. Told again after a whole answer. */
  | { readonly type: "partial" }
  /** How far the hashing of the folder is, once a second and at its end. */
  | ({ readonly type: "hashing" } & Hashing)
  | { readonly type: "uploaded"; readonly name: string; readonly to: Address; readonly bytes: number }
  /** Every download that this peer sends, once a second while one of them moves, after watchUploads. */
  | { readonly type: "uploading"; readonly uploads: readonly Uploading[] }
  | { readonly type: "hashed"; readonly name: string; readonly root: string };

/** How downloads fetch. */
export type DownloadPolicy = {
  /** In bytes per second, of all downloads together; undefined for no limit. */
  readonly maxDownloadRate?: number | undefined;
  /** So many seconds without a byte end a lane. */
  readonly stallSeconds?: number | undefined;
  /** Reads each download again before it gets its name, though nothing speaks against it. */
  readonly paranoid?: boolean;
  /** Downloads of the list that are under way at the same time. */
  readonly maxDownloads?: number | undefined;
};

/** Limits that may change while the peer runs; rates in bytes per second, undefined for none. */
export type PeerLimits = UploadLimits & Pick<DownloadPolicy, "maxDownloadRate">;

export type PeerOptions = {
  /** Read anew at each dial: before it was ever reached it may become another one. */
  readonly server: InvitedTo;
  readonly uploads: UploadPolicy;
  readonly downloads?: DownloadPolicy;
  /** Bytes per second that hashing reads of files that no download waits for; no limit when not given. */
  readonly hashRate?: number | undefined;
  /** Whether the router is asked to lead a port here where others cannot connect; it is when not given. */
  readonly portMapping?: boolean;
  readonly onEvent: (event: PeerEvent) => void;
  /** What its connections show and which are encrypted; a key for this run, and all outside of 127.0.0.0/8, when not given. */
  readonly security?: Security;
  /** The machine, where it is another than this one. */
  readonly env?: PeerEnv;
};

/** What we are in the network with: the folder as the person typed it, what it holds, where we listen. */
type Membership = {
  readonly typed: string | undefined;
  readonly sharing: Sharing;
  readonly library: Library;
  readonly listening: Address;
  readonly published: Address;
};

/** What the server did not answer, or no more: the next JOIN carries what UPDATE was to tell. */
const JOIN_TELLS: ReadonlySet<string> = new Set(["SERVER_GONE", "SHUTTING_DOWN", "NOT_JOINED"]);

/** What was to be downloaded is in the folder. */
const HERE = fault("FILE_EXISTS", "ours", "the folder has this file");

/** Files that are put into the library before other work has a turn: some milliseconds' worth. */
const TAKEN_AT_ONCE = 256;

/** An index that is away for a moment is waited for. */
const PARTIAL_WAIT_MS = 1000;
const PARTIAL_WAITS_MAX = 5;

/** One thread hashes and writes while the other receives; more gained nothing on two cores. */
const LANE_THREADS = 2;

export class Peer {
  readonly #options: PeerOptions;
  readonly #link: ServerLink;
  readonly #env: PeerEnv;
  readonly #cache;
  readonly #hasher;
  readonly #key = crypto.getRandomValues(new Uint8Array(16)).toHex();
  readonly #router: RouterMapping;
  #uploads: UploadThread | undefined;
  #membership: Membership | undefined;
  /** What SEARCH last found: the file that DOWNLOAD is about, and whom it turns to when the chosen peer fails. */
  #found: { readonly name: string | undefined; readonly peers: readonly Address[] } = { name: undefined, peers: [] };
  /** One JOIN at a time; resolves when the last one asked for is over. */
  #joining: Promise<unknown> = Promise.resolve();
  /** Names in this folder that were withdrawn, and files of which the server did not take the UPDATE. */
  readonly #withdrawn = new Set<string>();
  readonly #refused;
  readonly #announcements;
  #watch: FolderWatch | undefined;
  /** The server's last answer was partial. */
  #isPartial = false;
  /** What downloaders say came wrong from here, and the thread that looks. */
  readonly #damage;
  readonly #checking;
  /** Of the downloads under way. */
  readonly #rate: SharedRate;
  /** Downloads that have threads. */
  #fetching = 0;
  readonly #plays;
  /** Many downloads at a time, each tried again where that is wanted. */
  readonly downloads: Downloads;
  readonly #offers = createPartialShares((request) => void this.#link.call(request));

  #policy: { readonly uploads: UploadPolicy; readonly downloads: DownloadPolicy };

  constructor(options: PeerOptions) {
    this.#options = options;
    this.#policy = { uploads: options.uploads, downloads: options.downloads ?? {} };
    this.#rate = createSharedRate(options.downloads?.maxDownloadRate);
    const env = options.env ?? systemEnv(options.security);
    this.#env = env;
    this.#plays = createPlays({
      start: env.startPlayThread,
      newToken: () => crypto.getRandomValues(new Uint8Array(16)).toHex(),
      clock: env.clock,
    });
    this.#cache = env.createHashCache();
    this.#refused = createRefusals(env.clock);
    this.#announcements = createAnnouncements(env.clock, (name) => this.#tell(name));
    this.#checking = env.createHashPool(1, { background: true });
    this.#damage = createDamage({
      clock: env.clock,
      isDamaged: (name, index) => this.#isDamaged(name, index),
      onDamaged: (name, piece) => this.#setAside(name, piece),
    });
    this.#hasher = createHasher({
      machine: env,
      clock: env.clock,
      workers: env.workers,
      cache: this.#cache,
      background: true,
      rate: options.hashRate,
    });
    this.downloads = createDownloads({
      env,
      max: options.downloads?.maxDownloads,
      self: () => this.#membership?.published,
      locate: (name) => this.#locateAgain(name),
      fetch: (from, request) => this.download(from, request),
      wish: (name) => this.#wish(name),
      unwish: (name) => void this.#link.call({ verb: "UNWISH", name }),
    });
    this.#router = createRouterMapping({
      open: options.portMapping === false ? undefined : env.openPortMapping,
      localIp: () => this.localIp(),
      onUnmapped: () => options.onEvent({ type: "unmapped" }),
      onMapped: (mapped, listening) => {
        this.#joining = this.#joining.then(() => this.#joinThrough(mapped, listening)).catch(() => undefined);
      },
    });
    this.#link = createServerLink({
      server: options.server,
      env: { ...env, connect: pinServer(env.connect, options.server, options.onEvent) },
      shares: () => this.#membership?.library.shares() ?? [],
      key: this.#key,
      onListed: () => this.#offers.renew(),
      onReach: (reached, address) => {
        options.onEvent({ type: "reach", reached, address });
        const listening = this.#membership?.listening;
        if (!reached && listening !== undefined) void this.#router.want(listening, address);
      },
      onLost: () => options.onEvent({ type: "server-lost" }),
      onBack: (address) => {
        this.#offers.renew();
        this.downloads.serverBack();
        options.onEvent({ type: "server-back", address });
      },
    });
  }

  get lastSearched(): string | undefined {
    return this.#found.name;
  }

  /** The IP by which this machine reaches the server: what others can connect to. 127.0.0.1 when there is no way there. */
  async localIp(): Promise<string> {
    return (await localIp(this.#options.server.ip)) ?? LOOPBACK;
  }

  /** The first port from `at` on where this peer could listen; undefined when the next hundred are taken. */
  freePort(at: Address): number | undefined {
    return freePort(at);
  }

  /**
   * SPEC 5.b, 5.i: enters the network with a folder, or moves there when already in. Of a folder with more files than
   * the server takes it shares what fits. On a fault nothing has changed.
   */
  join(at: JoinAt): Promise<Joined | NotJoined> {
    const joined = this.#joining.then(() => this.#enter(at));
    this.#joining = joined.catch(() => undefined);
    return joined;
  }

  async #enter(at: JoinAt): Promise<Joined | NotJoined> {
    const isWhole = (at.sharing ?? "folder") === "folder";
    // What was there before and is in the folder's listing no more is gone; of what a listing never held, nothing is known.
    const listed = new Set(isWhole ? this.#membership?.library.names() : []);
    const found = isWhole ? await this.#env.listFolder(at.folder) : emptyListing(at.folder);
    if (isFault(found)) return found;
    const listing = await withoutWritten(this.#env, found);
    if (isWhole) this.#options.onEvent({ type: "skipped", files: listing.skipped });
    for (let { shares } = listing; ; ) {
      const entered = await this.#enterWith({ ...listing, shares }, listed, at);
      const fits = isFault(entered) ? fitting(shares, entered) : shares;
      if (fits === undefined || (isFault(entered) && fits.length === shares.length)) return entered;
      const count = listing.shares.length - shares.length;
      if (!isFault(entered) && count > 0) {
        this.#membership?.library.setAside(listing.shares.slice(shares.length));
        this.#options.onEvent({ type: "left-out", shared: shares.length, count });
      }
      if (!isFault(entered)) return entered;
      shares = fits;
    }
  }

  async #enterWith(listing: Listing, listed: ReadonlySet<string>, at: JoinAt): Promise<Joined | NotJoined> {
    const library = this.#libraryOf(listing);
    const before = this.#membership;
    const uploads = this.#uploadThread();
    // What is new there is served from the first moment on that others may know of it.
    for (const entry of entriesOf(library)) if (before?.library.get(entry.share.name) === undefined) uploads.put(entry);
    const listening = await uploads.listen({ ip: at.host ?? (await this.localIp()), port: at.port });
    const entered = isFault(listening) ? listening : await this.#joinServer(listening, at, library);
    if (isFault(listening) || isFault(entered)) {
      library.close();
      uploads.replaceAll(entriesOf(before?.library));
      const lost = await uploads.settle(false);
      if (lost !== undefined && before !== undefined)
        this.#options.onEvent({ type: "reach", reached: false, address: before.published });
      return isFault(listening) ? listening : { ...(entered as Fault), at: listening };
    }
    const { folder: typed, sharing = "folder" } = at;
    this.#membership = { typed, sharing, library, listening, published: entered.address };
    before?.library.close();
    this.#withdrawn.clear();
    // Downloaded, or back, since the folder was listed.
    const news = before?.library.folder === library.folder ? library.adopt(before.library, listed) : [];
    uploads.replaceAll(entriesOf(library));
    await uploads.settle(true);
    this.#offers.renew(); // a JOIN leaves the server with nothing but what it carries
    for (const held of news) this.#announce(library, held);
    void library.hashAll();
    this.#watch?.close();
    this.#watch = this.#follow(library, sharing, listing.skipped);
    const { address, reached } = entered;
    this.#options.onEvent({ type: "joined", address, folder: typed, reached });
    this.#router.moved(listening.port);
    if (!reached) void this.#router.want(listening, address);
    return { ...entered, names: library.names() };
  }

  #libraryOf(listing: Listing): Library {
    const library = createLibrary({
      listing,
      cache: this.#cache,
      hasher: this.#hasher,
      clock: this.#env.clock,
      stampFile: this.#env.stampFile,
      onShared: (held) => this.#announce(library, held),
      onLost: (names) => {
        if (this.#withdraw(library, names)) this.#tellNames("withdrawn", library, names);
        this.#watch?.hint(); // it may be there as another file
      },
      onHashing: (hashing) => {
        if (this.#membership?.library === library) this.#options.onEvent({ type: "hashing", ...hashing });
      },
    });
    return library;
  }

  /** What appears in the folder, changes or goes is announced without another JOIN; of some folders only downloads are. */
  #follow(library: Library, sharing: Sharing, skipped: readonly Skipped[]): FolderWatch | undefined {
    if (library.folder === "" || sharing === "nothing") return undefined;
    const mayShare = (name: string): boolean =>
      sharing === "folder" || library.local(name) !== undefined || this.#withdrawn.has(name);
    const onChange = (change: FolderChange): Promise<void> => this.#take(library, change);
    return watchSharedFolder({ env: this.#env, library, skipped, mayShare, onChange });
  }

  async #take(library: Library, { settled, lost, skipped }: FolderChange): Promise<void> {
    if (skipped.length > 0) this.#options.onEvent({ type: "skipped", files: skipped });
    library.lose(lost);
    for (let at = 0; at < settled.length; at += TAKEN_AT_ONCE) {
      if (at > 0) await Bun.sleep(0); // others have a turn
      if (this.#membership?.library !== library) return;
      const held = settled.slice(at, at + TAKEN_AT_ONCE).map((local) => library.put(local));
      this.#uploads?.putAll(held.map((one) => entryOf(library, one)));
      for (const { local } of held) this.#announcements.add(local.name);
    }
    const names = settled.map(({ name }) => name);
    const back = new Set(names.filter((name) => this.#withdrawn.delete(name)));
    this.#tellNames("returned", library, [...back]);
    this.#tellNames(
      "shared",
      library,
      names.filter((name) => !back.has(name)),
    );
    void library.hashAll();
  }

  #tellNames(type: "shared" | "withdrawn" | "returned", library: Library, names: readonly string[]): void {
    if (names.length > 0) this.#options.onEvent({ type, names, total: library.names().length });
  }

  /** SPEC 5.a: uploads have a thread of their own, so that other peers are answered whatever this one is doing. */
  #uploadThread(): UploadThread {
    this.#uploads ??= this.#env.startUploadThread(this.#policy.uploads, this.#key, (event) => this.#hearUploads(event));
    return this.#uploads;
  }

  /** SPEC 5.d: the peers that have exactly this file. It becomes the file that DOWNLOAD is about. */
  async search(name: string): Promise<readonly Address[] | Fault> {
    const exact = name.normalize("NFC");
    const peers = await this.locate(exact);
    if (!isFault(peers)) this.#found = { name: exact, peers };
    return peers;
  }

  /** SEARCH of which nothing is remembered: what the list or the page asks for is not what DOWNLOAD is about. */
  async locate(given: string): Promise<readonly Address[] | Fault> {
    const name = given.normalize("NFC");
    const flaw = nameFlaw(name);
    if (flaw !== undefined) return fault("BAD_NAME", "ours", flaw);
    const answer = expectReply(await this.#link.call({ verb: "SEARCH", name }), "SEARCH_OK");
    if (isFault(answer)) return answer;
    this.#hearPartial(answer.reply.partial);
    return decodeAddresses(answer.payload);
  }

  /** For a download: an empty answer of a server that is without its shared index is asked for again, for a while. */
  async #locateAgain(name: string): Promise<readonly Address[] | Fault> {
    for (let waits = 0; ; waits++) {
      const found = await this.locate(name);
      if (isFault(found) || found.length > 0 || !this.#isPartial || waits === PARTIAL_WAITS_MAX) return found;
      await new Promise<void>((resolve) => this.#env.clock.after(PARTIAL_WAIT_MS, resolve));
    }
  }

  #hearPartial(partial = false): void {
    if (partial && !this.#isPartial) this.#options.onEvent({ type: "partial" });
    this.#isPartial = partial;
  }

  async #wish(name: string): Promise<boolean | undefined> {
    const onArrived = () => this.downloads.arrived(name);
    const answer = expectReply(await this.#link.call({ verb: "WISH", name }, { onArrived }), "WISH_OK");
    return isFault(answer) ? undefined : answer.reply.scope === "all";
  }

  /** The contents that have all of these words in a name: at most `most`, and how many others there are. */
  async find(words: string, most: number): Promise<FoundWords | Fault> {
    const found = await findWords(this.#link, words, most);
    if (!isFault(found)) this.#hearPartial(found.isPartial);
    return found;
  }

  /** What is shared now, as the server is told. */
  files(): readonly Share[] {
    return [...(this.#membership?.library.shares() ?? [])];
  }

  /** Other limits from now on, for uploads and downloads under way too. */
  setLimits({ maxDownloadRate, ...uploads }: PeerLimits): void {
    this.#policy = {
      uploads: { ...this.#policy.uploads, ...uploads },
      downloads: { ...this.#policy.downloads, maxDownloadRate },
    };
    this.#uploads?.setLimits(uploads);
    setSharedRate(this.#rate, maxDownloadRate);
  }

  /** The part of our own limit that a download has, while the others take theirs. */
  #rateOfOne(): number | undefined {
    const { maxDownloadRate } = this.#policy.downloads;
    return maxDownloadRate && maxDownloadRate / Math.max(1, this.#fetching);
  }

  /** From now on `uploading` is told. */
  watchUploads(): void {
    this.#uploadThread().watch();
  }

  /** Serves guests' browsers there, under a path that begins with `token`. The port that was taken; faults as those of listen. */
  openGuests(at: Address, token: string): Promise<Address | Fault> {
    return this.#uploadThread().openGuests(at, token);
  }

  /** SPEC 5.f, 5.h: the file from that peer into our own folder, verified; then UPDATE by itself. */
  async download(chosen: Address, request: DownloadRequest = {}): Promise<Done | Fault> {
    const env = this.#env;
    const { downloads } = this.#policy;
    const membership = this.#membership;
    const uploads = this.#uploads;
    if (membership?.typed === undefined || uploads === undefined)
      return fault("NOT_JOINED", "ours", "DOWNLOAD before JOIN");
    const name = request.name?.normalize("NFC") ?? this.#found.name;
    if (name === undefined) return fault("NOT_SEARCHED", "ours", "DOWNLOAD before SEARCH");
    const flaw = nameFlaw(name);
    if (flaw !== undefined) return fault("BAD_NAME", "ours", flaw);
    const found = request.others ?? (this.#found.name === name ? this.#found.peers : []);
    // A typed address is the program that the list names there.
    const from = { ...chosen, id: chosen.id ?? found.find((peer) => sameAddress(peer, chosen))?.id };
    const others = found.filter((peer) => !sameAddress(peer, membership.published));
    const play = this.#plays.download(name);
    if (await env.hasFile(membership.library.folder, name)) {
      await env.removeLeftovers(membership.library.folder, name);
      play.end(HERE);
      return this.#alreadyHere(membership, name, [from, ...others], request.signal);
    }
    const isSilent = membership.sharing === "nothing" || isDotFile(name);
    const threads = env.createLaneThreads(LANE_THREADS, { rate: this.#rate, stallSeconds: downloads.stallSeconds });
    this.#fetching += 1;
    const rechecking = env.createHashPool(1);
    const downloaded = await download({
      name,
      from,
      others,
      request,
      env,
      files: {
        openPartWorkspace: (wanted, apart) => env.openPartWorkspace(membership.library.folder, wanted, apart),
        hashPieces: (fd) => (head, first, pieces) => rechecking.run({ ...head, fd, first, pieces }),
        paranoid: downloads.paranoid,
      },
      network: {
        self: membership.published,
        openLane: threads.open,
        findHolders: (root) => this.#findHolders(root),
        offer: (content, part) =>
          isSilent
            ? NO_OFFER
            : this.#offers.begin(uploads, { folder: membership.library.folder, name, ...part }, content),
        play: (content, part, onPositions) =>
          play.begin(content, { folder: membership.library.folder, ...part }, onPositions),
        maxDownloadRate: () => this.#rateOfOne(),
      },
    });
    threads.close();
    this.#fetching -= 1;
    rechecking.close();
    play.end(isFault(downloaded) ? downloaded : undefined);
    if (isFault(downloaded)) return downloaded;
    // A JOIN meanwhile may have made another library of this folder, or moved to another folder.
    const library = isSilent ? undefined : this.#membership?.library;
    if (library?.folder === membership.library.folder) {
      const held = await library.add(name, downloaded);
      if (held !== undefined) this.#announce(library, held, false);
      await this.#tell(name);
    }
    return { name, folder: membership.typed, bytes: downloaded.size };
  }

  /**
   * Where a player reads this file of our folder: one that is whole, or a download under way from the moment on that
   * its content is known. `http://127.0.0.1:PORT/…`, good until leave(). The download's fault when it ends before;
   * FILE_MISSING.
   */
  async play(name: string): Promise<string | Fault> {
    const membership = this.#membership;
    if (membership?.typed === undefined) return fault("NOT_JOINED", "ours", "play before JOIN");
    const exact = name.normalize("NFC");
    const growing = await this.#plays.ofDownload(exact);
    if (growing !== undefined && growing !== HERE) return growing;
    const { folder } = membership.library;
    const file = membership.library.get(exact)?.local.file ?? exact;
    const path = finalPath(folder, file);
    const stamp = isFault(path) ? path : await this.#env.stampFile(path);
    return isFault(stamp) ? stamp : this.#plays.ofFile(exact, { ...stamp, folder, file });
  }

  /** Resolves when no player has had this file open for a minute. */
  playedOut(name: string): Promise<void> {
    return this.#plays.idle(name.normalize("NFC"));
  }

  /** The folder has a file of this name: with the content that one of `peers`, which have this name, has whole, or with another. */
  async #alreadyHere(
    { library, typed = "" }: Membership,
    name: string,
    peers: readonly Address[],
    signal?: AbortSignal,
  ) {
    const path = finalPath(library.folder, name);
    const hashed = isFault(path) ? path : await this.#hasher.hash(path, { urgent: true, signal });
    const holders = isFault(hashed) ? [] : await this.#findHolders(hashed.root);
    const isSame = holders.some(
      ({ address, complete }) => complete && peers.some((peer) => sameAddress(peer, address)),
    );
    if (isFault(hashed) && hashed.fault === "CANCELLED") return hashed;
    if (isFault(hashed) || !isSame) return HERE;
    return { name, folder: typed, bytes: hashed.size, isHere: true } as const;
  }

  /** Tells the server goodbye and ends the uploads. */
  async leave(): Promise<void> {
    await Promise.all([this.#link.leave(), this.downloads.close(), this.#router.close()]);
    this.#watch?.close();
    this.#membership?.library.close();
    this.#membership = undefined;
    this.#refused.close();
    this.#announcements.close();
    this.#damage.close();
    this.#checking.close();
    const uploads = this.#uploads;
    this.#uploads = undefined;
    await this.#plays.close();
    await uploads?.close();
    this.#hasher.close();
    this.#cache.close();
  }

  /** Behind a router the server sees another address than this machine has; it counts where ours was asked for. */
  async #joinServer(listening: Address, { host, listing }: JoinAt, library: Library): Promise<Entered | Fault> {
    const options = { listing, shares: () => library.shares() };
    const entered = await this.#link.join(listening, options);
    if (!isFault(entered) || entered.fault !== "ADDRESS_MISMATCH") return entered;
    if (host !== undefined && host !== (await this.localIp())) return entered;
    return this.#link.join({ ...listening, ip: AS_SEEN }, options);
  }

  /** The router leads a port of its own here: we are at that one from now on. */
  async #joinThrough(through: Mapped, listening: Address): Promise<void> {
    const membership = this.#membership;
    if (membership === undefined || !sameAddress(membership.listening, listening)) return;
    const shares = () => this.#membership?.library.shares() ?? [];
    const entered = await this.#link.join({ ip: AS_SEEN, port: through.port }, { shares });
    if (isFault(entered) || this.#membership !== membership) return;
    this.#membership = { ...membership, published: entered.address };
    this.#offers.renew();
    this.#options.onEvent({ type: "reach", reached: entered.reached, address: entered.address, through });
  }

  async #findHolders(root: Root): Promise<Holder[]> {
    const answer = expectReply(await this.#link.call({ verb: "SOURCES", root }), "SOURCES_OK");
    const holders = isFault(answer) ? [] : decodeHolders(answer.payload);
    const ours = this.#membership?.published;
    return isFault(holders) ? [] : holders.filter(({ address }) => ours === undefined || !sameAddress(address, ours));
  }

  /** A file is shared from now on, or more is known of it. */
  #announce(library: Library, file: LibraryFile, isNews = true): void {
    if (this.#membership?.library !== library) return;
    this.#uploads?.put(entryOf(library, file));
    const { root } = file;
    const { name } = file.local;
    if (this.#withdrawn.delete(name)) this.#tellNames("returned", library, [name]);
    if (root !== undefined) this.#options.onEvent({ type: "hashed", name, root });
    if (isNews) this.#announcements.add(name);
  }

  /**
   * SPEC 5.c: UPDATE tells the server of a file that is whole here, and of its root once it is known, and waits for
   * UPDATE_OK; WITHDRAW, of one that is not. While a JOIN is under way the server is told after it; while the server is
   * away the next JOIN tells it.
   */
  async #tell(name: string): Promise<void> {
    await this.#joining;
    const library = this.#membership?.library;
    if (library === undefined) return;
    const held = library.get(name);
    if (held === undefined) {
      this.#refused.forget(name);
      await this.#link.call({ verb: "WITHDRAW", name });
      this.#offers.renew(name); // what is downloaded under that name is on offer all the same
      return this.#refused.nudge(); // there is room for another now
    }
    const share = { name, size: held.local.size, root: held.root };
    const answer = expectReply(await this.#link.call({ verb: "UPDATE", share }), "UPDATE_OK");
    if (!isFault(answer) || JOIN_TELLS.has(answer.fault)) return this.#refused.forget(name);
    const isNews = this.#refused.add(name, answer.retry, () => this.#announcements.add(name));
    if (isNews) this.#options.onEvent({ type: "refused", name, why: answer, count: this.#refused.count });
  }

  #hearUploads(event: UploadsEvent): void {
    const library = this.#membership?.library;
    if (event.type === "damaged") return this.#damage.hear(event.name, event.index, event.from.ip);
    if (event.type === "uploaded" || event.type === "uploading") this.#options.onEvent(event);
    if (event.type === "uploading") return;
    if (event.type === "wanted") library?.want(event.name);
    else void library?.doubt(event.name); // also once it was sent: its time may have been set back before
  }

  async #isDamaged(name: string, index: number): Promise<boolean> {
    const library = this.#membership?.library;
    const held = library?.get(name);
    const path = library === undefined || held === undefined ? undefined : finalPath(library.folder, held.local.file);
    if (held === undefined || path === undefined || isFault(path)) return false;
    const layer = held.layer ?? this.#cache.find(path, held.local)?.layer;
    return isPieceDamaged(path, { ...held, layer }, index, this.#checking);
  }

  /** The disk does not hold this piece as it was hashed. */
  #setAside(name: string, piece: number): void {
    const library = this.#membership?.library;
    const held = library?.get(name);
    if (library === undefined || held === undefined) return;
    library.setAside([held.local]);
    this.#withdraw(library, [name]);
    this.#options.onEvent({ type: "damaged", name, piece });
  }

  /** Files are no longer what was announced: the server shall send no other peer here for them. False when we have moved. */
  #withdraw(library: Library, names: readonly string[]): boolean {
    if (this.#membership?.library !== library) return false;
    for (const name of names) {
      this.#uploads?.remove(name);
      this.#refused.forget(name);
      this.#announcements.add(name);
      if (this.#withdrawn.size < JOIN_NAMES_MAX) this.#withdrawn.add(name);
    }
    return true;
  }
}
