// How long the functions of src/ are and how many options they take, by the compiler's own tree and types.
// Invariant: a function counts from its first line to its closing brace; an options type counts all of its fields.
// Never: guesses from the text; only what the compiler calls a function or a property is measured.

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
  /** The most fields that one of its options has: see isOptions. */
  readonly options: number;
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
type Callable = { readonly parameters?: readonly Node[]; readonly body?: Node };
type Parameter = { readonly name: Node; readonly type?: Node };
/** A function as the tree shows it; the fields of its options need the checker. */
type Found = Omit<Measured, "options"> & { readonly optionNodes: readonly Node[] };

/** Options are: a parameter named so, one whose type is named `…Options`, and one of an object type written in place. */
function isOptions(parameter: Node, file: SourceFile): boolean {
  const { name, type } = parameter as unknown as Parameter;
  const isNamedSo = /options$/i.test(name.getText(file)) || /Options\b/.test(type?.getText(file) ?? "");
  return isNamedSo || type?.kind === SyntaxKind.TypeLiteral;
}

function measure(file: SourceFile, path: string): Found[] {
  const found: Found[] = [];
  const lineOf = (position: number): number => file.getLineAndCharacterOfPosition(position).line + 1;

  /** Adds `node` and the functions inside it; returns how many lines `node` spans. */
  function add(node: Node): number {
    const { body, parameters = [] } = node as unknown as Callable;
    const line = lineOf(node.getStart(file));
    const lines = lineOf(node.end) - line + 1;
    const inside = body === undefined ? 0 : sum(body);
    const { name } = node as unknown as Named;
    const called = name?.text ?? (node.parent as unknown as Named | undefined)?.name?.text ?? "";
    const optionNodes = parameters.filter((parameter) => isOptions(parameter, file));
    const ownLines = lines - inside;
    found.push({ path, name: called, line, parameters: parameters.length, lines, ownLines, optionNodes });
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
    const found = files.flatMap(({ path, file }) => (file === undefined ? [] : measure(file, path)));
    const nodes = [...new Set(found.flatMap(({ optionNodes }) => optionNodes))];
    const types = (await project?.checker.getTypeAtLocation(nodes)) ?? [];
    const counts = await Promise.all(
      types.map(async (type) => {
        const properties = type === undefined ? [] : ((await project?.checker.getPropertiesOfType(type)) ?? []);
        // A list is no options, however it is named.
        return properties.some(({ name }) => name === "length") ? 0 : properties.length;
      }),
    );
    const fields = new Map(nodes.map((node, index) => [node, counts[index] ?? 0]));
    return found.map(({ optionNodes, ...one }) => ({
      ...one,
      options: Math.max(0, ...optionNodes.map((node) => fields.get(node) ?? 0)),
    }));
  } finally {
    await api.close();
  }
}
