// How long the functions of src/ are, by the compiler's own tree.
// Invariant: a function counts from its first line to its closing brace.
// Never: guesses from the text; only what the compiler calls a function is measured.

import { join } from "node:path";
import { type Node, type SourceFile, SyntaxKind } from "typescript/unstable/ast";
import { API } from "typescript/unstable/async";

const ROOT = join(import.meta.dir, "..", "..");

export type Measured = {
  readonly path: string;
  readonly name: string;
  readonly line: number;
  readonly parameters: number;
  /** All of its lines, and those that belong to no function inside it. */
  readonly lines: number;
  readonly ownLines: number;
};

const FUNCTIONS: ReadonlySet<SyntaxKind> = new Set([
  SyntaxKind.FunctionDeclaration,
  SyntaxKind.FunctionExpression,
  SyntaxKind.ArrowFunction,
  SyntaxKind.MethodDeclaration,
  SyntaxKind.Constructor,
  SyntaxKind.GetAccessor,
  SyntaxKind.SetAccessor,
]);

type Named = { readonly name?: { readonly text?: string } };
type Callable = { readonly parameters?: readonly unknown[]; readonly body?: Node };

function measure(file: SourceFile, path: string): Measured[] {
  const found: Measured[] = [];
  const lineOf = (position: number): number => file.getLineAndCharacterOfPosition(position).line + 1;

  /** Adds `node` and the functions inside it; returns how many lines `node` spans. */
  function add(node: Node): number {
    const { body, parameters = [] } = node as unknown as Callable;
    const line = lineOf(node.getStart(file));
    const lines = lineOf(node.end) - line + 1;
    const inside = body === undefined ? 0 : sum(body);
    const { name } = node as unknown as Named;
    const called = name?.text ?? (node.parent as unknown as Named | undefined)?.name?.text ?? "";
    found.push({ path, name: called, line, parameters: parameters.length, lines, ownLines: lines - inside });
    return lines;
  }

  /** The lines of the functions directly inside `node`; a function on one line counts as a line of its holder. */
  function sum(node: Node): number {
    let total = 0;
    node.forEachChild((child) => {
      const lines = FUNCTIONS.has(child.kind) ? add(child) : sum(child);
      total += FUNCTIONS.has(child.kind) && lines === 1 ? 0 : lines;
      return undefined;
    });
    return total;
  }
  sum(file);
  return found;
}

/** Every function of `paths` (relative to the project). */
export async function measureFunctions(paths: readonly string[]): Promise<Measured[]> {
  const api = new API({ cwd: ROOT });
  try {
    const snapshot = await api.updateSnapshot({ openProjects: [join(ROOT, "tsconfig.json")] });
    const project = snapshot.getProjects()[0];
    const files = await Promise.all(
      paths.map(async (path) => ({ path, file: await project?.program.getSourceFile(join(ROOT, path)) })),
    );
    return files.flatMap(({ path, file }) => (file === undefined ? [] : measure(file, path)));
  } finally {
    await api.close();
  }
}
