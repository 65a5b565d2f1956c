// The house rules as tests: what docs/STYLE.md and docs/ARCHITECTURE.md promise about the shape of src/, held on every run.

import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { type Measured, measureFunctions } from "./support/functions.ts";

const ROOT = join(import.meta.dir, "..");
const read = (path: string): string => readFileSync(join(ROOT, path), "utf8");
const list = (pattern: string): string[] =>
  [...new Bun.Glob(pattern).scanSync({ cwd: ROOT, dot: false })].map((path) => path.replaceAll("\\", "/")).sort();

type SourceFile = {
  path: string;
  text: string;
  /** The text without its comments. */
  code: string;
  /** Files of this repository that are imported, and those of them of which only types are. */
  imports: string[];
  typeImports: string[];
  packages: string[];
};

/** Source without comments; strings stay. Good enough for the patterns below, and simple. */
const withoutComments = (text: string): string =>
  text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/(^|[^:"'`\\/])\/\/.*$/gm, "$1");

/** A page stands for the scripts that it loads. */
const scriptsOf = (path: string): string[] =>
  path.endsWith(".html")
    ? [...read(path).matchAll(/<script[^>]*src="([^"]+)"/g)].map(([, script = ""]) =>
        normalize(join(dirname(path), script)),
      )
    : [path];

function parse(path: string): SourceFile {
  const text = read(path);
  const code = withoutComments(text);
  const specifiers = [
    ...code.matchAll(/^\s*(?:import|export)(\s+type)?\b[^;"']*?\bfrom\s+"([^"]+)"/gm),
    ...code.matchAll(/^\s*import()\s+"([^"]+)"/gm),
    ...code.matchAll(/\bimport()\(\s*"([^"]+)"\s*\)/g),
    ...code.matchAll(/new URL()\(\s*"([^"]+-worker\.ts)"/g),
  ].map(([, type, specifier = ""]) => ({ isType: Boolean(type), specifier }));
  const resolve = (specifier: string) => normalize(join(dirname(path), specifier)).replaceAll("\\", "/");
  const relatives = specifiers.filter(({ specifier }) => specifier.startsWith("."));
  const values = new Set(relatives.filter(({ isType }) => !isType).map(({ specifier }) => resolve(specifier)));
  const imports = [...new Set(relatives.flatMap(({ specifier }) => scriptsOf(resolve(specifier))))];
  return {
    path,
    text,
    code,
    imports,
    typeImports: imports.filter((target) => !values.has(target)),
    packages: specifiers.map(({ specifier }) => specifier).filter((specifier) => !specifier.startsWith(".")),
  };
}

const sources = list("src/**/*.ts").map(parse);
const byPath = new Map(sources.map((file) => [file.path, file]));
const tests = list("tests/**/*.ts").filter((path) => path !== "tests/tidy.test.ts");

/** One line per offence, so that a failure reads as a list of what to mend. */
const offences = (find: (file: SourceFile) => readonly string[], among: readonly SourceFile[] = sources): string[] =>
  among.flatMap((file) => find(file).map((what) => `${file.path}: ${what}`));

const matches = (file: SourceFile, pattern: RegExp): string[] =>
  [...file.code.matchAll(pattern)].map(([hit]) => hit.trim());

// Who may import whom; a layer may always import itself. A worker is the main of its own thread.
const LAYERS: Record<string, readonly string[]> = {
  main: [
    "console",
    "web",
    "discovery",
    "shared",
    "servidor",
    "peer",
    "content",
    "config",
    "version",
    "transport",
    "protocol",
  ],
  version: [],
  console: ["shared", "protocol"],
  // A second shell beside the console, with its texts; the part of it that runs in a browser is src/web/page/.
  web: ["console", "transport", "shared", "protocol"],
  config: ["shared", "protocol"],
  servidor: ["catalog", "transport", "shared", "protocol"],
  peer: ["port-mapping", "download", "upload", "play", "worker", "content", "transport", "shared", "protocol"],
  worker: ["download", "upload", "play", "content", "transport", "shared", "protocol"],
  catalog: ["protocol"],
  // They verify with content's hash tree and ask with transport's caller; sockets and files are handed to them (ADR 0003).
  download: ["content", "transport", "shared", "protocol"],
  upload: ["content", "transport", "shared", "protocol"],
  play: ["content", "transport", "shared", "protocol"],
  "port-mapping": ["transport", "shared", "protocol"],
  discovery: ["transport", "shared", "protocol"],
  content: ["shared", "protocol"],
  transport: ["shared", "protocol"],
  shared: ["protocol"],
  protocol: [],
};
// The console shows what these find, and calls nothing of theirs.
const TYPES_OF: Record<string, readonly string[]> = {
  console: ["peer", "download", "content", "discovery", "port-mapping"],
  web: ["peer", "download"],
};

const folderOf = (path: string): string => path.split("/").slice(0, 2).join("/");

function layerOf(path: string): string {
  const [, first = "", second] = path.split("/");
  if (path.endsWith("-worker.ts")) return "worker";
  if (second !== undefined) return first;
  return /^napster-(?:server|peer)\.ts$/.test(first) ? "main" : first.replace(/\.ts$/, "");
}

// A path is joined and a file is opened in these places only; all other code holds a handle or a share.
const MAY_TOUCH_FILES: readonly RegExp[] = [
  /^src\/content\//,
  /^src\/console\/terminal\/output\.ts$/, // the standard outputs, already open
  /^src\/transport\/(?:tcp|wire)\.ts$/, // a socket's own descriptor, never a file's
  /^src\/transport\/gateway\.ts$/, // the system's table of routes
  /^src\/web\/page-files\.ts$/, // the page's files, inside the executable
  /^src\/catalog\/words\/words-worker\.ts$/, // SQLite in memory: no file
];
const FUNCTION_LINES_MAX = 70;
/** A factory (`createX`) is counted without the functions inside it, and with them up to this many lines. */
const FACTORY_LINES_MAX = 120;
const PARAMETERS_MAX = 4;
const OPTIONS_MAX = 8;
// Words that the code had for what has another name now (docs/ARCHITECTURE.md, Glossary): an old word may not return.
const OLD_WORDS: Readonly<Record<string, string>> = {
  allowance: "token bucket",
  departures: "closing lanes",
  desk: "request handler",
  door: "listener",
  doors: "listeners",
  doorway: "admission",
  entrance: "admission",
  fetcher: "requester",
  headless: "commands",
  holdings: "content index",
  interner: "string pool",
  judge: "verifier",
  judged: "verified, checked",
  judges: "verifies, checks",
  knock: "dial probe",
  outbox: "reply buffer",
  porch: "probe-only",
  pump: "request loop",
  pumps: "request loops",
  quick: "fast search",
  relief: "stragglers",
  reputation: "backoff",
  roster: "active sources",
  scheduler: "piece picker",
  serving: "responder",
  shelf: "share index",
  shelves: "share indexes",
  stock: "share entry",
  stocked: "share entry",
  stranger: "unjoined",
  strangers: "unjoined",
  swarm: "peer list",
};
// The noun says who is meant; these words do not (docs/STYLE.md).
const UNNAMED_PERSONS = /\b(?:whoever|nobody|somebody)\b/gi;

describe("layers", () => {
  test("every file belongs to a known layer", () => {
    expect(offences(({ path }) => (layerOf(path) in LAYERS ? [] : ["no such layer"]))).toEqual([]);
  });

  test("imports go downwards only", () => {
    const upwards = ({ path, imports, typeImports }: SourceFile): string[] => {
      const from = layerOf(path);
      const allowed = (target: string): boolean => {
        const to = layerOf(target);
        if (to === from || target === "package.json") return true;
        if (to === "worker" && folderOf(target) === folderOf(path)) return true; // started from its own layer, by URL
        if (typeImports.includes(target) && TYPES_OF[from]?.includes(to)) return true;
        return LAYERS[from]?.includes(to) ?? false;
      };
      return imports.filter((target) => !allowed(target)).map((target) => `imports ${target}`);
    };
    expect(offences(upwards)).toEqual([]);
  });

  test("protocol knows no socket, clock, randomness, disk or console", () => {
    const impure =
      /\b(?:Bun\.(?:listen|connect|file|write|spawn|sleep|nanoseconds)|Date\.now|new Date|performance|Math\.random|crypto\.|process\.|setTimeout|setInterval|console\.)|"node:(?:fs|net|os|path|crypto|timers)[^"]*"/g;
    const pure = sources.filter(({ path }) => path.startsWith("src/protocol/"));
    expect(offences((file) => matches(file, impure), pure)).toEqual([]);
  });

  test("only transport and the threads know TCP", () => {
    const tcp = /\bBun\.(?:listen|connect)\b|"node:(?:net|tls|dgram)"/g;
    const others = sources.filter(({ path }) => layerOf(path) !== "transport");
    expect(offences((file) => matches(file, tcp), others)).toEqual([]);
  });

  test("only content touches paths and opens files", () => {
    const touches = /\bBun\.(?:file|write)\(|"node:(?:fs|fs\/promises|path)"|"bun:sqlite"/g;
    const others = sources.filter(({ path }) => !MAY_TOUCH_FILES.some((allowed) => allowed.test(path)));
    expect(offences((file) => matches(file, touches), others)).toEqual([]);
  });

  test("no file imports itself, however long the way round", () => {
    const cycles: string[] = [];
    const done = new Set<string>();
    const walk = (path: string, trail: readonly string[]): void => {
      if (trail.includes(path)) {
        cycles.push([...trail.slice(trail.indexOf(path)), path].join(" -> "));
        return;
      }
      if (done.has(path)) return;
      for (const target of byPath.get(path)?.imports ?? []) {
        if (!target.endsWith("-worker.ts")) walk(target, [...trail, path]);
      }
      done.add(path);
    };
    for (const { path } of sources) walk(path, []);
    expect(cycles).toEqual([]);
  });
});

describe("the shape of src/", () => {
  test("there are exactly two classes: Servidor and Peer", () => {
    const classes = sources.flatMap(({ code }) =>
      [...code.matchAll(/\bclass\s+([A-Za-z_$][\w$]*)?/g)].map(([, name]) => name),
    );
    expect(classes.sort()).toEqual(["Peer", "Servidor"]);
  });

  test("every file opens with three lines of comment: what it is, what it keeps, what it never does", () => {
    const opens = ({ text }: SourceFile) =>
      text
        .split("\n")
        .slice(0, 3)
        .every((line) => /^\/\/ \S/.test(line));
    expect(offences((file) => (opens(file) ? [] : ["does not open with three // lines"]))).toEqual([]);
  });

  test("no function is larger, takes more parameters or more options than its bounds say", async () => {
    const functions = await measureFunctions(sources.map(({ path }) => path));
    expect(functions.length).toBeGreaterThan(sources.length);
    const isTooLarge = ({ name, lines, ownLines }: Measured): boolean =>
      /^create[A-Z]/.test(name)
        ? ownLines > FUNCTION_LINES_MAX || lines > FACTORY_LINES_MAX
        : lines > FUNCTION_LINES_MAX;
    const names = (offends: (measured: Measured) => boolean): string[] =>
      functions.filter(offends).map(({ path, name, line }) => `${path} ${name || `line ${line}`}`);
    expect(names(isTooLarge)).toEqual([]);
    expect(names(({ parameters }) => parameters > PARAMETERS_MAX)).toEqual([]);
    expect(names(({ options }) => options > OPTIONS_MAX)).toEqual([]);
  }, 20_000);

  test("every file is reached from a main or a thread", () => {
    const reached = new Set<string>();
    const walk = (path: string): void => {
      if (reached.has(path)) return;
      reached.add(path);
      byPath.get(path)?.imports.forEach(walk);
    };
    for (const { path } of sources) if (layerOf(path) === "main") walk(path);
    expect(sources.map(({ path }) => path).filter((path) => !reached.has(path))).toEqual([]);
  });

  test("relative imports name a file that exists, with its extension", () => {
    const exists = (target: string) => byPath.has(target) || target === "package.json";
    expect(offences(({ imports }) => imports.filter((target) => !exists(target)))).toEqual([]);
  });

  test("threads are started in the one way that build.ts understands", () => {
    const idiom = /new Worker\(\s*new URL\(\s*"\.{1,2}\/[^"]+-worker\.ts",\s*import\.meta\.url,?\s*\)/g;
    const starts = sources.filter(({ code }) => code.includes("new Worker("));
    const odd = (file: SourceFile) =>
      matches(file, idiom).length === matches(file, /new Worker\(/g).length ? [] : ["odd start"];
    expect(offences(odd, starts)).toEqual([]);
  });
});

/** The words of a text in lower case, those inside camelCase and UPPER_CASE names too. */
const wordsOf = (text: string): string[] =>
  [...text.matchAll(/[A-Z]?[a-z]+|[A-Z]+(?![a-z])/g)].map(([word]) => word.toLowerCase());

describe("the words of src/", () => {
  test("no second name comes back for what the glossary names", () => {
    expect(wordsOf("a guestList of HELD_BYTES, onHTTPGuest")).toEqual(
      "a guest list of held bytes on http guest".split(" "),
    );
    const old = ({ path, text }: SourceFile): string[] =>
      [...new Set(wordsOf(`${path} ${text}`))]
        .filter((word) => Object.hasOwn(OLD_WORDS, word))
        .map((word) => `${word} is called ${OLD_WORDS[word]} now`);
    expect(offences(old)).toEqual([]);
  });

  test("comments name who is meant", () => {
    expect(offences(({ text }) => [...text.matchAll(UNNAMED_PERSONS)].map(([word]) => word))).toEqual([]);
  });
});

describe("leftovers", () => {
  test("nothing is left to do, printed for debugging, or stopped at", () => {
    const left = /\b(?:TODO|FIXME|XXX|HACK)\b|\bdebugger\b/g;
    const found = ({ text }: SourceFile) => [...text.matchAll(left)].map(([hit]) => hit);
    expect(offences(found, [...sources, ...tests.map(parse)])).toEqual([]);
    const prints = sources.filter(({ path }) => layerOf(path) !== "console");
    expect(offences((file) => matches(file, /\bconsole\.\w+/g), prints)).toEqual([]);
  });

  // Whoever adds a row says why: a test that waits for time, or that some machines leave out, is worth less.
  const SLEEPS: Record<string, string> = {
    "tests/support/until.ts": "the one wait: for a condition, looked at again and again",
    "tests/e2e/giant.test.ts": "memory is looked at so often while a program runs",
    "tests/support/crowded.ts": "how much CPU half a second of rest takes",
    "tests/all.ts": "a test file that says nothing for so long is ended",
  };
  const LEFT_OUT: Record<string, string> = {
    windows: "Windows has no FIFOs, and other names and rights",
    'process.platform === "win32"': "Windows has no pseudo-terminals, and no such names",
    'process.platform !== "linux"': "only Linux lists open descriptors, and keeps NFD names as they are",
    "windows || process.getuid?.() === 0": "root may read everything",
    "!root": "only root can be another person",
    "!hasRedis": "needs redis-server; CI has it",
    skipped: "needs python3-libtorrent; CI has it",
    'process.env.CI !== "true"': "needs a tool, or data, that CI has",
    "without, () => undefined": "the tools that are missing are in the test's name",
  };

  test("no test is alone or asleep, and what some machines leave out has a reason", () => {
    const alone = /\b(?:test|it|describe)\.(?:only|todo|failing|todoIf|if)\b/g;
    const asleep = /\b(?:Bun\.sleep(?:Sync)?|setTimeout|sleepSync|scheduler\.wait)\(/g;
    const leftOut = /\b(?:test|it|describe)\.skip(?:If)?\b/;
    const parsed = tests.map(parse);
    expect(offences((file) => matches(file, alone), parsed)).toEqual([]);
    expect(offences((file) => (file.path in SLEEPS ? [] : matches(file, asleep)), parsed)).toEqual([]);
    const reasons = Object.keys(LEFT_OUT);
    const unnamed = ({ code }: SourceFile) =>
      code.split("\n").filter((line) => leftOut.test(line) && !reasons.some((reason) => line.includes(reason)));
    expect(offences(unnamed, parsed)).toEqual([]);
    const awake = Object.keys(SLEEPS).filter((path) => matches(parse(path), asleep).length === 0);
    expect(awake).toEqual([]);
  });

  test("no path of one machine is in the source", () => {
    const machine = /["'`](?:\/(?:work|tmp|home|root|Users|mnt)\b|[A-Za-z]:\\\\)[^"'`]*/g;
    expect(offences((file) => matches(file, machine))).toEqual([]);
  });
});

describe("the assignment's items", () => {
  const letters = (from: string, to: string) =>
    Array.from({ length: to.charCodeAt(0) - from.charCodeAt(0) + 1 }, (_, index) =>
      String.fromCharCode(from.charCodeAt(0) + index),
    );
  const items = [
    ...letters("a", "e").map((letter) => `4.${letter}`),
    ...letters("a", "i").map((letter) => `5.${letter}`),
  ];

  test("each is marked beside the lines that serve it", () => {
    const marked = new Set(
      sources.flatMap(({ text }) =>
        [...text.matchAll(/(?:\/\/|\*) SPEC ((?:[45]\.[a-i](?:, )?)+)/g)].flatMap(([, names = ""]) =>
          names.split(", "),
        ),
      ),
    );
    expect(items.filter((item) => !marked.has(item))).toEqual([]);
    expect([...marked].filter((item) => !items.includes(item))).toEqual([]);
  });

  test("each is named by a test", () => {
    const text = tests.map(read).join("\n");
    expect(items.filter((item) => !new RegExp(`\\b${item.replace(".", "\\.")}\\b`).test(text))).toEqual([]);
  });
});

describe("dependencies", () => {
  const manifest = JSON.parse(read("package.json")) as Record<string, Record<string, string> | undefined>;
  const dependencies = { ...manifest.dependencies, ...manifest.devDependencies };

  test("are pinned to one version", () => {
    const loose = Object.entries(dependencies).filter(([, version]) => !/^\d+\.\d+\.\d+$/.test(version));
    expect(loose).toEqual([]);
  });

  test("imported by src/ are dependencies, not tools", () => {
    const ours = Object.keys(manifest.dependencies ?? {});
    const foreign = ({ packages }: SourceFile) =>
      packages.filter((name) => !/^(?:node|bun):|^bun$/.test(name) && !ours.includes(name));
    expect(offences(foreign)).toEqual([]);
  });

  test("are each explained in docs/ARCHITECTURE.md", () => {
    const architecture = list("docs/ARCHITECTURE.md").map(read).join("");
    expect(architecture, "docs/ARCHITECTURE.md is not written yet").not.toBe("");
    expect(Object.keys(dependencies).filter((name) => !architecture.includes(name))).toEqual([]);
  });
});
