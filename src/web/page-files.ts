// The page's files: inside the executable as Bun bundled them, or bundled now where the program runs from its source.
// Invariant: only these files are ever served, each under its own name; "/" is the page.
// Never: a path of the request becomes a path of the disk.

import type { HTMLBundle } from "bun";
import index from "./page/index.html";

export type PageFile = { readonly body: Blob; readonly type: string };
export type PageFiles = ReadonlyMap<string, PageFile>;

const nameOf = (path: string): string => `/${path.split(/[\\/]/).pop()}`;

export async function pageFiles(bundle: HTMLBundle = index): Promise<PageFiles> {
  const files = new Map<string, PageFile>();
  const add = (path: string, body: Blob, type: string): void => {
    files.set(type.startsWith("text/html") ? "/" : nameOf(path), { body, type });
  };
  if (bundle.files !== undefined)
    for (const { path, headers } of bundle.files) add(path, Bun.file(path), headers["content-type"]);
  else {
    const built = await Bun.build({ entrypoints: [bundle.index], minify: false });
    for (const artifact of built.outputs) add(artifact.path, artifact, artifact.type);
  }
  return files;
}
