// The key that a program keeps, and the ID that others know it by.
// Invariant: whatever lies in the configuration folder, the program has a key, and no file of a person's is overwritten.
// Never: touches a real configuration folder.

import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { generateKeyPairSync, X509Certificate } from "node:crypto";
import * as fs from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { configPath } from "../../src/content/config-folder.ts";
import { openIdentity } from "../../src/content/identity-file.ts";
import { idOfHash, isId, readId, showId } from "../../src/protocol/id.ts";
import { identityOf, idOfCertificate, newKey } from "../../src/shared/identity.ts";
import { closeAfterTest } from "../support/closing.ts";
import { temporaryFolder } from "../support/folders.ts";

setDefaultTimeout(60_000);

const KEY =
  "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIP48uQxS8cyMSrNY75PyltREuhWzZO/dsVJLMERIEgI6\n-----END PRIVATE KEY-----\n";
/** openssl pkey -pubout -outform DER | openssl dgst -sha256 -binary | base32 */
const ID = "DT5BNTDJKEHLJYUU56A5QT6Z6YSM4HU4QQGLUTPPIRUKDTAL5XJA";
const HASH = fc.uint8Array({ minLength: 32, maxLength: 32 });

describe("an ID", () => {
  test("an ID is the base32 of SHA-256 of the public key, as openssl computes it", () => {
    expect(identityOf(KEY)?.id).toBe(ID);
  });

  test("an ID is shown in groups of four, and read back however it is typed", () => {
    expect(showId(ID)).toBe("DT5B-NTDJ-KEHL-JYUU-56A5-QT6Z-6YSM-4HU4-QQGL-UTPP-IRUK-DTAL-5XJA");
    expect(readId(showId(ID).toLowerCase())).toBe(ID);
    expect(readId(` ${showId(ID).replaceAll("-", " ")} `)).toBe(ID);
  });

  test("every 32 bytes have one spelling, and no other is an ID", () => {
    fc.assert(
      fc.property(HASH, (hash) => {
        const id = idOfHash(hash);
        expect(isId(id) && readId(showId(id)) === id).toBe(true);
      }),
    );
    // The last character holds one bit: one that holds more would be a second spelling.
    expect(isId(`${ID.slice(0, -1)}B`)).toBe(false);
    for (const text of ["", ID.slice(1), `${ID}A`, ID.toLowerCase(), ID.replace("D", "1")])
      expect(isId(text)).toBe(false);
    expect(readId("0OI1")).toBeUndefined();
  });
});

describe("a certificate", () => {
  test("a certificate is signed by its key, has no end, and shows the key's ID", () => {
    const identity = identityOf(newKey());
    const certificate = new X509Certificate(identity?.certificate ?? "");
    expect(certificate.verify(certificate.publicKey)).toBe(true);
    expect(certificate.validTo).toContain("9999");
    expect(idOfCertificate(certificate)).toBe(identity?.id ?? "");
  });

  test("only an Ed25519 key makes an identity", () => {
    const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
    expect(identityOf(privateKey.export({ type: "pkcs8", format: "pem" }) as string)).toBeUndefined();
    expect(identityOf("")).toBeUndefined();
    expect(identityOf(KEY.replace("MC4C", "MC4D"))).toBeUndefined();
  });
});

function folder(): string {
  const made = temporaryFolder("identity");
  closeAfterTest(() => made[Symbol.dispose]());
  return made.path;
}

describe("identity.key", () => {
  test("the key is made at the first start, for its owner alone, and is the same at the next", () => {
    const path = join(folder(), "new", "identity.key");
    const first = openIdentity(path);
    expect(first.trouble).toBeUndefined();
    if (process.platform !== "win32") expect(fs.statSync(path).mode & 0o777).toBe(0o600);
    const second = openIdentity(path);
    expect(second).toMatchObject({ identity: { id: first.identity.id, key: first.identity.key } });
    expect(fs.readdirSync(join(path, ".."))).toEqual(["identity.key"]);
  });

  test("eight processes that start at once have one key", async () => {
    const path = join(folder(), "identity.key");
    const script = `
      const { openIdentity } = await import(${JSON.stringify(join(import.meta.dir, "../../src/content/identity-file.ts"))});
      const { identity, trouble } = openIdentity(${JSON.stringify(path)});
      process.stdout.write(trouble === undefined ? identity.id : trouble.detail);`;
    const all = Array.from({ length: 8 }, () => Bun.spawn([process.execPath, "-e", script], { stdout: "pipe" }));
    const ids = await Promise.all(all.map(({ stdout }) => new Response(stdout).text()));
    expect(new Set(ids)).toEqual(new Set([openIdentity(path).identity.id]));
  });

  test("a key that others could read is the owner's alone after the next start", () => {
    const path = join(folder(), "identity.key");
    fs.writeFileSync(path, KEY, { mode: 0o644 });
    expect(openIdentity(path).identity.id).toBe(ID);
    if (process.platform !== "win32") expect(fs.statSync(path).mode & 0o777).toBe(0o600);
  });

  const USELESS: [string, string][] = [
    ["garbage", "not a key"],
    ["nothing", ""],
    [
      "a key of another kind",
      generateKeyPairSync("x25519").privateKey.export({ type: "pkcs8", format: "pem" }) as string,
    ],
    ["a file without end", KEY.padEnd(100_000)],
  ];

  test.each(USELESS)("%s in its place is told and left as it is, and the program has a key for this run", (_, text) => {
    const path = join(folder(), "identity.key");
    fs.writeFileSync(path, text);
    const opened = openIdentity(path);
    expect(opened.trouble).toMatchObject({ fault: "KEY_UNUSABLE" });
    expect(isId(opened.identity.id)).toBe(true);
    expect(openIdentity(path).identity.id).not.toBe(opened.identity.id);
    expect(fs.readFileSync(path, "utf8")).toBe(text);
  });

  test("a folder that cannot be made or read is told, and the program has a key for this run", () => {
    const file = join(folder(), "file");
    fs.writeFileSync(file, "");
    for (const path of [join(file, "napster", "identity.key"), join(file, "..")]) {
      const opened = openIdentity(path);
      expect(opened.trouble).toMatchObject({ fault: "KEY_UNUSABLE" });
      expect(isId(opened.identity.id)).toBe(true);
    }
  });

  test("the folder is where the platform keeps configuration, and NAPSTER_CONFIG overrides it", () => {
    expect(configPath("k", { APPDATA: "c:/r" }, "win32", "/h")).toBe("c:/r/napster/k");
    expect(configPath("k", {}, "darwin", "/h")).toBe("/h/Library/Application Support/napster/k");
    expect(configPath("k", {}, "linux", "/h")).toBe("/h/.config/napster/k");
    expect(configPath("k", { XDG_CONFIG_HOME: "/x" }, "linux", "/h")).toBe("/x/napster/k");
    expect(configPath("k", { XDG_CONFIG_HOME: "relative" }, "linux", "/h")).toBe("/h/.config/napster/k");
    expect(configPath("k", { NAPSTER_CONFIG: "/n", XDG_CONFIG_HOME: "/x" }, "linux", "/h")).toBe("/n/k");
  });
});
