// Reading again what is on the disk: what an earlier run left, and the whole file where something speaks against it.
// Invariant: a damaged piece is disowned in the journal before another is fetched in its place.
// Never: fetches; it names the pieces that are to be fetched again.

import type { PartWorkspace } from "../content/part-workspace.ts";
import { fault, isFault } from "../protocol/fault.ts";
import type { Grant } from "../protocol/messages.ts";
import type { PartFile } from "./disk/part-file.ts";
import type { Layer } from "./layer.ts";
import type { DownloadFiles } from "./options.ts";
import { claimsOf, findDamaged } from "./pieces/resume.ts";
import type { Left } from "./pieces/verifier.ts";
import type { SessionProgress } from "./session-state.ts";

/** A program that goes on writing into the .part is not waited for. */
const LOOKS_MAX = 3;
const CHANGED_AGAIN = fault("PART_CHANGED", "disk", "the .part was changed again and again while it grew");

export type RecheckOptions = {
  readonly grant: Grant;
  readonly workspace: PartWorkspace;
  readonly partFile: PartFile;
  readonly files: DownloadFiles;
  readonly layer: Layer;
  readonly progress: SessionProgress;
  /** These were kept, and are not on the disk. */
  readonly onDamaged: (indexes: readonly number[]) => void;
};

export type Recheck = {
  /** Reads `pieces` of what an earlier run left; names the damaged ones. */
  readAgain(left: Left, pieces: Left["kept"]): Promise<readonly number[]>;
  /** The last look before the file gets its name: all of it is read where anything speaks against it, or when paranoid. */
  lookAgain(): Promise<readonly number[]>;
};

export function createRecheck(options: RecheckOptions): Recheck {
  const { grant, workspace, partFile, files, layer, progress } = options;
  const hashPieces = files.hashPieces(workspace.part.fd);
  let looks = 0;
  return {
    async readAgain({ kept }, pieces) {
      const damaged = await findDamaged(pieces, grant, hashPieces);
      await partFile.disown(damaged.filter((index) => kept.has(index)));
      return damaged;
    },
    async lookAgain() {
      progress.go("kept");
      while (!progress.isOver && layer.content !== undefined) {
        const doubt = await workspace.doubt(grant.size);
        const failed = isFault(doubt) ? doubt : doubt && looks === LOOKS_MAX ? CHANGED_AGAIN : undefined;
        if (failed !== undefined) progress.go("fail", failed);
        if (failed !== undefined || !(doubt || (files.paranoid && looks === 0))) break;
        looks++;
        workspace.trust(); // what comes from now on is seen at the next look
        const damaged = await findDamaged(new Map(claimsOf(layer.content.layer)), grant, hashPieces);
        if (damaged.length === 0) continue;
        progress.go("damaged");
        options.onDamaged(damaged);
        await partFile.disown(damaged);
        return damaged;
      }
      return [];
    },
  };
}
