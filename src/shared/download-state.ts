// How a download of the list stands: one word for the peer, the consoles and the page.
// Invariant: it is a type alone, so that the page's program can read it without the peer's.
// Never: decides anything.

/**
 * queued: others are under way. running: it is asked for, or arrives. waiting: it failed, and is tried again later, or
 * once a peer has it. paused: by the person. done, failed: it is over, and stays to be seen.
 */
export type DownloadState = "queued" | "running" | "waiting" | "paused" | "done" | "failed";
