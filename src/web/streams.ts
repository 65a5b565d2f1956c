// The open pages: each hears every event, as server-sent events.
// Invariant: a page hears the whole state first and then each change, in order; a page that does not read is cut off.
// Never: keeps more than a bounded number of bytes, or pages.

/** Pages that are open at once; a new one ends the oldest. */
export const STREAMS_MAX = 16;
/** What may wait for a page that reads slowly. It comes back by itself and hears the whole state anew. */
const BACKLOG_BYTES_MAX = 4 * 1024 * 1024;

export type Streams = {
  /** A new page: `first` is what it hears before all else. */
  open(first: string): ReadableStream<Uint8Array>;
  /** One JSON text, without a newline, to every open page. */
  tell(json: string): void;
  close(): void;
  readonly count: number;
};

const encoder = new TextEncoder();
const eventOf = (json: string): Uint8Array => encoder.encode(`data: ${json}\n\n`);

export function createStreams(): Streams {
  const pages = new Set<ReadableStreamDefaultController<Uint8Array>>();

  function end(page: ReadableStreamDefaultController<Uint8Array>): void {
    if (!pages.delete(page)) return;
    try {
      page.close();
    } catch {} // its reader has gone already
  }

  return {
    open(first) {
      for (const oldest of pages) {
        if (pages.size < STREAMS_MAX) break;
        end(oldest);
      }
      let page: ReadableStreamDefaultController<Uint8Array> | undefined;
      return new ReadableStream<Uint8Array>(
        {
          start(controller) {
            page = controller;
            pages.add(controller);
            controller.enqueue(eventOf(first));
          },
          cancel() {
            if (page !== undefined) pages.delete(page);
          },
        },
        { highWaterMark: BACKLOG_BYTES_MAX, size: (chunk) => chunk?.byteLength ?? 0 },
      );
    },
    tell(json) {
      const chunk = eventOf(json);
      for (const page of pages) {
        if ((page.desiredSize ?? 0) < chunk.length) end(page);
        else page.enqueue(chunk);
      }
    },
    close() {
      for (const page of pages) end(page);
    },
    get count() {
      return pages.size;
    },
  };
}
