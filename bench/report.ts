// What the rows found: goals with a verdict, tables of numbers, and both as text and Markdown.
// Invariant: a goal that could not be tried is listed with the reason; none is silently left out.
// Never: measures or judges by itself; a row says whether it is met.

/** One line of the table. */
export type Goal = {
  readonly what: string;
  readonly ours: string;
  readonly theirs: string;
  /** As the goal counts it. */
  readonly ratio?: string;
  readonly goal: string;
  /** Undefined: not tried. */
  readonly met: boolean | undefined;
  readonly note?: string;
};

/** Numbers behind goals: a head and lines. */
export type Table = {
  readonly title: string;
  readonly head: readonly string[];
  readonly lines: readonly (readonly string[])[];
};

export type Found = {
  readonly goals: readonly Goal[];
  readonly tables: readonly Table[];
  readonly notes?: readonly string[];
};

export const notTried = (what: string, goal: string, note: string): Found => ({
  goals: [{ what, ours: "–", theirs: "–", goal, met: undefined, note }],
  tables: [],
});

const HEAD = ["what", "ours", "theirs", "ratio", "goal", "met"] as const;

const cells = ({ what, ours, theirs, ratio, goal, met }: Goal): string[] => [
  what,
  ours,
  theirs,
  ratio ?? "",
  goal,
  met === undefined ? "not tried" : met ? "yes" : "NO",
];

/** For the terminal: columns under each other. */
export function textTable({ title, head, lines }: Table): string {
  const rows = [head, ...lines];
  const widths = head.map((_, column) => Math.max(...rows.map((row) => (row[column] ?? "").length)));
  const text = rows.map((row) =>
    `  ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("  ")}`.trimEnd(),
  );
  return [title, ...text].join("\n");
}

const markdownRow = (row: readonly string[]): string =>
  `| ${row.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;

function markdownTable({ head, lines }: Omit<Table, "title">): string {
  return [markdownRow(head), markdownRow(head.map(() => "---")), ...lines.map(markdownRow)].join("\n");
}

export const goalTable = (found: readonly Found[]): Table => ({
  title: "Goals",
  head: HEAD,
  lines: found.flatMap(({ goals }) => goals.map(cells)),
});

export function goalNotes(found: readonly Found[]): string[] {
  const goals = found.flatMap(({ goals }) => goals);
  return goals.flatMap(({ what, note }) => (note === undefined ? [] : [`${what}: ${note}`]));
}

/** bench/RESULTS.md. `remarks` is what people wrote under the last one: it is kept. */
export function markdown(about: readonly string[], found: readonly Found[], remarks: string): string {
  const notes = [...goalNotes(found), ...found.flatMap(({ notes = [] }) => notes)];
  const tables = found.flatMap(({ tables }) => tables);
  return [
    "# Numbers",
    "Written by `bun run bench`. Rounds are interleaved; a number is the median of the rounds, with the least and the most in brackets; a ratio is the median of the rounds' ratios.",
    about.map((line) => `- ${line}`).join("\n"),
    "## Goals",
    markdownTable(goalTable(found)),
    ...(notes.length > 0 ? [notes.map((note) => `- ${note}`).join("\n")] : []),
    ...tables.flatMap((table) => [`## ${table.title}`, markdownTable(table)]),
    REMARKS,
    remarks.trim() || "(none)",
    "",
  ].join("\n\n");
}

/** Everything below this line of RESULTS.md is written by hand and kept. */
export const REMARKS = "## What bounds what is not met";

export const remarksOf = (before: string): string => before.split(`${REMARKS}\n`)[1] ?? "";
