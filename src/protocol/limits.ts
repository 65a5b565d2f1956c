// The bounds of the wire, and the waits and counts that documents name: with the unit last in the name, and the reason.
// Invariant: each stands here once. Bounds that concern one file alone, such as a buffer's size, stand in that file.
// Never: read from the environment here; a flag that overrides one is parsed in config.ts and handed down.

/** One control line without its newline. A name is at most 255 bytes, so no legal line comes near this. */
export const LINE_BYTES_MAX = 1024;

/** The longest file name of ext4, NTFS and APFS, in bytes of UTF-8. */
export const NAME_BYTES_MAX = 255;
/** Blanks in a row in a file's name: a longer run hides what comes after it, `Aula.mp4        .exe`. */
export const NAME_BLANKS_MAX = 2;

/** Names in one JOIN, and of one peer in all: twice the largest library that we promise (100,000). */
export const JOIN_NAMES_MAX = 200_000;

/** JOIN's payload: 200,000 names of 100 bytes with size and root, rounded up. */
export const JOIN_PAYLOAD_BYTES_MAX = 64 * 1024 * 1024;

/** An answer to SEARCH or SOURCES names at most this many peers: beyond it more sources do not help. */
export const SEARCH_PEERS_MAX = 100_000;

/** The answer that carries a list of addresses, as its reader bounds it: SEARCH_PEERS_MAX lines of 96 bytes. */
export const LIST_PAYLOAD_BYTES_MAX = SEARCH_PEERS_MAX * 96;

/** Contents in one answer to FIND, and how far its pages go: who has not found it by then needs other words. */
export const FIND_COUNT_MAX = 100;
export const FIND_OFFSET_MAX = 1_000;

/** Names that one FIND looks at; words that fit more are too few. */
export const FIND_NAMES_MAX = 2_000;

/** Different words of one FIND that count; of more the longest do. */
export const FIND_WORDS_MAX = 32;

/** What one FIND may cost the index of words; it is answered with what was found by then. */
export const FIND_MS_MAX = 100;

/** FINDs that are worked on at once, in all and of one address; the rest wait, address by address in turn… */
export const FINDS_AT_ONCE_MAX = 64;
export const FINDS_AT_ONCE_PER_ADDRESS_MAX = 8;
/** …and those that have waited so long are told to come back later: before the asker gives up. */
export const FIND_WAIT_SECONDS_MAX = 10;

/** The answer to FIND: FIND_COUNT_MAX lines with a size, a root, a number of sources and a name. */
export const FIND_PAYLOAD_BYTES_MAX = 64 * 1024;

/** A file's size: what a JavaScript number counts exactly (8 PiB). */
export const FILE_BYTES_MAX = Number.MAX_SAFE_INTEGER;

/** BEP 52 block: the leaf of the hash tree. */
export const BLOCK_BYTES = 16 * 1024;

/** SHA-256, the only hash of BEP 52: a piece in a layer. */
export const HASH_BYTES = 32;

/**
 * Smallest and largest piece, and how many pieces a file should have, which those above 7.8 GiB exceed: a player that
 * jumps waits for whole pieces, so none may take long.
 */
export const PIECE_BYTES_MIN = 256 * 1024;
export const PIECE_BYTES_MAX = 4 * 1024 * 1024;
export const PIECES_AIM = 2000;

/** The layer of a file: 32 bytes a piece; 64 MiB of hashes cover 8 TiB of video. */
export const LAYER_PAYLOAD_BYTES_MAX = 64 * 1024 * 1024;

/** Pieces of the largest file whose layer fits LAYER_PAYLOAD_BYTES_MAX. */
export const PIECES_MAX = LAYER_PAYLOAD_BYTES_MAX / HASH_BYTES;

/** What one download is listened to that says DAMAGED; the rest is answered and forgotten. */
export const DAMAGED_PER_UPLOAD_MAX = 16;

/** One GET: never more than the largest piece. */
export const GET_BYTES_MAX = PIECE_BYTES_MAX;

/** A joined peer says PING this often, so that both sides see a dead link. */
export const PING_SECONDS = 10;

/** The server forgets a joined peer that was silent this long: three missed PINGs. */
export const IDLE_SECONDS_MAX = 30;

/** A JOIN's payload that comes more slowly than this runs into its sender's deadline. */
export const JOIN_BYTES_PER_SECOND_MIN = 16 * 1024;

/** A JOIN's payload above LARGE_JOIN_BYTES_MIN is large: of those so many bytes are under way at once, by what they announced… */
export const LARGE_JOIN_BYTES_MIN = 1024 * 1024;
export const LARGE_JOINS_BYTES_MAX = 96 * 1024 * 1024;
/** …the rest wait unread, and are told to come back after this long: before the peer gives up… */
export const LARGE_JOIN_WAIT_SECONDS_MAX = 10;
/** …and one that comes more slowly than this loses its place after that, while others wait. */
export const LARGE_JOIN_BYTES_PER_SECOND_MIN = 1024 * 1024;

/** A connection that has not joined (server) or asked for a file (peer) is closed after this long. */
export const UNJOINED_SECONDS_MAX = 15;

/** Dialling another machine: a SYN and two retries. */
export const CONNECT_SECONDS_MAX = 7;

/** A TLS handshake that was accepted: a dialler has given up by then. */
export const HANDSHAKE_SECONDS_MAX = 10;
/** Handshakes under way at one listening thread, in all and of one address: some tens of KB each. */
export const HANDSHAKES_MAX = 1024;
export const HANDSHAKES_PER_ADDRESS_MAX = 128;
/** Handshakes of one address in a second: each costs half a millisecond of processor. */
export const HANDSHAKES_PER_SECOND_MAX = 500;

/** Waiting for the answer to one request. A JOIN of 100,000 names is answered well within it. */
export const REPLY_SECONDS_MAX = 20;

/** A transfer in which no byte moved for this long is stalled. */
export const STALL_SECONDS_MAX = 15;

/** Bytes waiting to be sent on one connection before its producer must stop (high-water mark). */
export const SEND_QUEUE_BYTES_MAX = 1024 * 1024;

/** Reconnecting: first wait, doubled up to the longest, each shortened by lot by up to a half. */
export const RECONNECT_MS_MIN = 250;
export const RECONNECT_MS_MAX = 8_000;

/** A connection to the server that has lasted so long makes the next wait the first one again. */
export const LASTED_SECONDS_MIN = 30;

/** A question asked while the server is away waits so long for its return: a restart fits, and a person waits. */
export const RETURN_SECONDS_MAX = 5;

/** The first wait after a server said SHUTTING_DOWN: it takes a while to start again, and everyone comes back at once. */
export const RECONNECT_AFTER_SHUTDOWN_MS = 4_000;

/** Uploads at once unless --max-uploads says otherwise. */
export const UPLOADS_DEFAULT = 8;

/** Slots of one peer, as ACCEPT tells them: more than any machine serves. */
export const SLOTS_MAX = 1_000_000;

/** Connections one download may open to one source. */
export const LANES_PER_TICKET_MAX = 8;

/** After our goodbye the other side has this long to say its own; then the socket is closed all the same. */
export const LINGER_SECONDS_MAX = 5;

/** Requests that a connection may have waiting unread before we stop reading it. */
export const READ_AHEAD_BYTES_MAX = 64 * 1024;

/** A granted download that fetches nothing for this long loses its slot. */
export const UPLOAD_IDLE_SECONDS_MAX = 60;

/** Downloads that may wait for an upload slot; beyond it each address keeps one, and gives way with the others. */
export const QUEUE_MAX = 100;

/** A slot is given up after this long to an address that has fewer, when the holder's has two more or itself waits for another… */
export const TURN_SECONDS_MIN = 15;
/** …and after this long when it has just one more: then single downloads take turns. */
export const TURN_SECONDS_MAX = 1800;

/** A waiting peer is told its place at least this often, which also keeps its own deadline away. */
export const WAIT_SECONDS = 5;

/** More WAITs than a queue that moves ever has to tell: a flood, and the end of the conversation. */
export const WAITS_PER_SECOND_MAX = 1000;

/** A downloader that takes less than this while others may be waiting for its slot loses it… */
export const UPLOAD_BYTES_PER_SECOND_MIN = 4 * 1024;
/** …when it has been so slow for this long. */
export const UPLOAD_RATE_SECONDS = 20;
/** How far a downloader that takes in bursts may be behind, in seconds of the least rate. */
export const UPLOAD_RATE_SLACK_SECONDS = 4;
/** By how much the count of what was taken may jump where only the system's send buffer tells: a third of Linux' largest. */
export const SEND_STEP_BYTES_MAX = 1536 * 1024;

/** Connections beyond these that a peer still reads one line of, so that the server's PROBE finds it however busy it is. */
export const PROBE_ONLY_CONNECTIONS_MAX = 64;

/** Connections to one peer: eight uploads of a class behind one address, each with its lanes, and as many who wait. */
export const UPLOAD_CONNECTIONS_MAX = 2048;
export const UPLOAD_CONNECTIONS_PER_ADDRESS_MAX = 1024;

/** The server's dial back to a peer that joins, from the SYN to the proof: one lost SYN and a slow line fit, and a person waits. */
export const PROBE_SECONDS_MAX = 2;

/** Such dials at once, in all and to one address; the rest wait, address by address in turn. A class joins in one go. */
export const PROBES_MAX = 1024;
export const PROBES_PER_ADDRESS_MAX = 128;
/** …and one that has not been answered for so long makes way for those of its address that wait. */
export const PROBE_MS_MIN = 300;

/** A peer that cannot be reached joins again by itself: first wait, doubled up to the longest. */
export const UNREACHED_SECONDS_MIN = 5;
export const UNREACHED_SECONDS_MAX = 300;

/** A peer that came for one answer has itself listed after this long, if it is still there. */
export const LISTED_LATER_SECONDS = 1;
