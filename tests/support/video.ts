// A real video of more than 1 GiB in about two seconds: a clip of two seconds, repeated by stream copy.

import { rmSync, statSync } from "node:fs";
import { run } from "./run.ts";

export const GIANT_BYTES = 2 ** 30;

// Noise keeps the bit rate high, so that few frames make many bytes and decoding them all stays quick.
const PICTURE = ["-f", "lavfi", "-i", "testsrc2=s=1920x1080:r=30", "-f", "lavfi", "-i", "sine=440", "-t", "2"];
const CODECS = ["-vf", "noise=alls=40:allf=t+u", "-c:v", "mpeg4", "-qscale:v", "1", "-c:a", "aac"];

/** Writes an MP4 of more than `bytes` to `path`; returns its size. */
export async function makeVideo(path: string, bytes = GIANT_BYTES): Promise<number> {
  const clip = `${path}.clip.mp4`;
  await run(["ffmpeg", "-v", "error", "-y", ...PICTURE, ...CODECS, clip]);
  const repeats = Math.ceil((bytes * 1.02) / statSync(clip).size);
  const loop = ["-stream_loop", String(repeats - 1), "-i", clip, "-c", "copy"];
  await run(["ffmpeg", "-v", "error", "-y", ...loop, path]);
  rmSync(clip);
  const size = statSync(path).size;
  if (size <= bytes) throw new Error(`made only ${size} bytes of video`);
  return size;
}

/** Decodes every frame; throws when the decoder complains about anything. */
export async function decodeVideo(path: string): Promise<void> {
  const child = ["ffmpeg", "-v", "error", "-xerror", "-i", path, "-f", "null", "-"];
  await run(child);
}
