// How the calling thread gives way to what a person does: less of the processor, and of the disk where the system can.
// Invariant: best effort; a system that has no such call leaves the thread as it is.
// Never: touches another thread, or the process as a whole.

import { dlopen, FFIType } from "bun:ffi";

const { i32, u32, i64 } = FFIType;

/** What the work of a batch job gets beside a program in use: about a tenth. */
const NICE = 10;

// macOS, sys/resource.h: this thread in the background, its disk use among it.
const PRIO_DARWIN_THREAD = 3;
const PRIO_DARWIN_BACKGROUND = 0x1000;

// Windows, winbase.h: low priority of processor, disk and memory.
const THREAD_MODE_BACKGROUND_BEGIN = 0x10000;
/** What GetCurrentThread returns, as a number that is exact. */
const CURRENT_THREAD = -2n;

/** Takes effect for the rest of the thread's life. */
export function giveWay(): void {
  try {
    if (process.platform === "win32") {
      const { symbols } = dlopen("kernel32.dll", {
        SetThreadPriority: { args: [i64, i32], returns: i32 },
      });
      symbols.SetThreadPriority(CURRENT_THREAD, THREAD_MODE_BACKGROUND_BEGIN);
      return;
    }
    const isMac = process.platform === "darwin";
    const { symbols } = dlopen(isMac ? "libSystem.B.dylib" : "libc.so.6", {
      setpriority: { args: [i32, u32, i32], returns: i32 },
    });
    // On Linux a priority is a thread's, and 0 is the calling one; its share of the disk follows it.
    if (isMac) symbols.setpriority(PRIO_DARWIN_THREAD, 0, PRIO_DARWIN_BACKGROUND);
    else symbols.setpriority(0, 0, NICE);
  } catch {
    // No such library (musl): it hashes at full speed.
  }
}
