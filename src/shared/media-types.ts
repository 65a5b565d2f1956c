// What a file is said to be to a player or a browser, by its name's extension alone.
// Invariant: only types that a browser plays and never runs; all else is bytes.
// Never: looks into a file.

const TYPES: Readonly<Record<string, string>> = {
  "3gp": "video/3gpp",
  avi: "video/x-msvideo",
  flv: "video/x-flv",
  m2ts: "video/mp2t",
  m4v: "video/mp4",
  mkv: "video/x-matroska",
  mov: "video/quicktime",
  mp4: "video/mp4",
  mpeg: "video/mpeg",
  mpg: "video/mpeg",
  ogv: "video/ogg",
  ts: "video/mp2t",
  webm: "video/webm",
  wmv: "video/x-ms-wmv",
};

/** What browsers play, where they have the codec: of the others none plays any. */
const PLAYED: ReadonlySet<string> = new Set([
  "video/mp4",
  "video/webm",
  "video/ogg",
  "video/quicktime",
  "video/x-matroska",
]);

/** Whether a browser may play a file of this name. */
export const mayPlayInBrowser = (name: string): boolean => PLAYED.has(mediaTypeOf(name));

/** Of what no player plays. */
export const OTHER_TYPE = "application/octet-stream";

/** The Content-Type of a file of this name. */
export function mediaTypeOf(name: string): string {
  const extension = /\.([0-9a-z]+)$/i.exec(name)?.[1]?.toLowerCase() ?? "";
  return Object.hasOwn(TYPES, extension) ? (TYPES[extension] as string) : OTHER_TYPE;
}
