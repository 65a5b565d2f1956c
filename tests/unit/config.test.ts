import { describe, expect, test } from "bun:test";
import { parsePeer, parseServer, peerUsage, serverUsage } from "../../src/config.ts";
import { UPLOADS_DEFAULT } from "../../src/protocol/limits.ts";

const peer = (line: string, environment: Record<string, string> = {}) =>
  parsePeer(line === "" ? [] : line.split(" "), environment);
const server = (line: string) => parseServer(line === "" ? [] : line.split(" "));

describe("the peer's command line", () => {
  test("no words mean the menu, and the server at its default", () => {
    expect(peer("")).toEqual({
      command: "menu",
      server: undefined,
      host: undefined,
      port: undefined,
      folder: undefined,
      json: false,
      uploads: {
        maxUploads: UPLOADS_DEFAULT,
        rejectAll: false,
        minUploadRate: undefined,
        maxUploadRate: undefined,
      },
      downloads: { stallSeconds: undefined, maxDownloadRate: undefined, paranoid: false, maxDownloads: undefined },
      hashRate: undefined,
      portMapping: true,
      only: false,
      maxWaitSeconds: undefined,
      webPort: 0,
      guests: false,
      receivesOnly: false,
      invite: undefined,
      encryption: "outside",
    });
  });

  test("--receive-only is for the menu and the page, and has nothing for guests", () => {
    expect(peer("--receive-only")).toMatchObject({ command: "menu", receivesOnly: true });
    expect(peer("web --receive-only")).toMatchObject({ command: "web", receivesOnly: true });
    expect(peer("--receive-only --guests")).toEqual({ usage: "--receive-only não envia nada, nem a --guests" });
    expect(peer("share --dir d --receive-only")).toHaveProperty("usage");
  });

  test.each([
    ["1", 1],
    ["800000", 800_000],
    ["500K", 500_000],
    ["5m", 5_000_000],
    ["1G", 1_000_000_000],
    ["512Ki", 524_288],
    ["2Mi", 2_097_152],
    ["1gi", 1_073_741_824],
    ["9007199254740991", Number.MAX_SAFE_INTEGER],
  ])("a rate of %s is %d bytes a second", (text, rate) => {
    expect(peer(`share --dir d --max-upload-rate ${text}`)).toMatchObject({ uploads: { maxUploadRate: rate } });
    expect(peer(`get x.mp4 --dir d --max-download-rate=${text}`)).toMatchObject({
      downloads: { maxDownloadRate: rate },
    });
    expect(peer(`share --dir d --hash-rate ${text}`)).toMatchObject({ hashRate: rate });
    expect(peer(`--max-upload-rate ${text}`)).toMatchObject({ command: "menu", uploads: { maxUploadRate: rate } });
  });

  test.each([
    "0",
    "0K",
    "",
    "K",
    "5 M",
    "5MB",
    "5M/s",
    "1.5M",
    "1,5M",
    "1e6",
    "0x10",
    "5T",
    "9007199254740992",
    "9999999999G",
  ])("a rate of %p is a mistake", (text) => {
    const usage = "--max-upload-rate pede bytes por segundo, por exemplo 800000, 500K, 5M ou 2Mi";
    expect(parsePeer(["share", "--dir", "d", `--max-upload-rate=${text}`], {})).toEqual({ usage });
  });

  test("get and the menu may keep to the chosen peer, and limit the wait in its queue", () => {
    expect(peer("get x.mp4 --dir d --only --max-wait 0")).toMatchObject({ only: true, maxWaitSeconds: 0 });
    expect(peer("--only --max-wait 86400")).toMatchObject({ command: "menu", only: true, maxWaitSeconds: 86_400 });
  });

  test("get and the menu may read what they downloaded again before it gets its name", () => {
    expect(peer("get x.mp4 --dir d --paranoid")).toMatchObject({ downloads: { paranoid: true } });
    expect(peer("--paranoid")).toMatchObject({ command: "menu", downloads: { paranoid: true } });
  });

  test("hash takes files, each a word of its own, or a folder to verify", () => {
    const files = ["um arquivo.mp4", "b.mp4"];
    expect(parsePeer(["hash", ...files], {})).toEqual({ command: "hash", json: false, files });
    expect(peer("hash --verify pasta --json")).toEqual({ command: "hash", json: true, verify: "pasta" });
    expect(peer("hash a.mp4", { NAPSTER_SERVER: "bem aqui" })).toMatchObject({ files: ["a.mp4"] });
  });

  test("--server wins over NAPSTER_SERVER, which wins over the default", () => {
    const environment = { NAPSTER_SERVER: "10.0.0.1:5" };
    expect(peer("", environment)).toMatchObject({ server: { host: "10.0.0.1", port: 5 } });
    expect(peer("--server 10.0.0.2:6", environment)).toMatchObject({ server: { host: "10.0.0.2", port: 6 } });
    expect(peer("", { NAPSTER_SERVER: "" })).toMatchObject({ server: undefined });
    expect(peer("", { NAPSTER_SERVER: "bem aqui" })).toMatchObject({
      usage: expect.stringContaining("NAPSTER_SERVER"),
    });
  });

  test("get shares what it downloads, unless it is to share the whole folder or nothing", () => {
    expect(peer("get x.mp4 --dir d")).toMatchObject({ sharing: "downloads" });
    expect(peer("get x.mp4 --dir d --share")).toMatchObject({ sharing: "folder" });
    expect(peer("get x.mp4 --dir d --no-share")).toMatchObject({ sharing: "nothing" });
    expect(peer("get x.mp4 --dir d --no-share --share")).toEqual({
      usage: "get pede --share ou --no-share, não os dois",
    });
    expect(peer("share --dir d --no-share")).toEqual({ usage: "--no-share não vale para share" });
  });

  test("get takes several files, each a word of its own, and find a limit", () => {
    expect(parsePeer(["get", "a b.mp4", "c.mp4", "--dir", "d"], {})).toMatchObject({ names: ["a b.mp4", "c.mp4"] });
    expect(peer("find aula redes")).toMatchObject({ words: "aula redes", limit: 200 });
    expect(peer("find aula --limit 7")).toMatchObject({ limit: 7 });
  });

  test.each([
    ["192.168.0.10", "192.168.0.10", 1099],
    ["localhost", "localhost", 1099],
    ["meu-pc.local:2000", "meu-pc.local", 2000],
    [" meu_pc ", "meu_pc", 1099],
  ])("--server %p is %p, port %d", (text, host, port) => {
    expect(parsePeer(["--server", text], {})).toMatchObject({ server: { host, port } });
    expect(parsePeer([], { NAPSTER_SERVER: text })).toMatchObject({ server: { host, port } });
  });

  test.each(["300.1.1.1", "1.2.3", "a b", "-x", "a:0", "a:b", "a:1:2", "[::1]:5", ":1099", "", "a..b", "x:", "a/b"])(
    "--server=%p is a mistake that says what was wanted",
    (text) => {
      const usage = "--server pede IP ou nome, e a porta se não for 1099: 192.168.0.10:1099, meu-pc.local";
      expect(parsePeer([`--server=${text}`], {})).toEqual({ usage });
    },
  );

  test("--from without a port means the one that JOIN offers", () => {
    expect(peer("get x.mp4 --dir d --from 192.168.0.5")).toMatchObject({ from: { host: "192.168.0.5", port: 8776 } });
    expect(peer("get x.mp4 --dir d --from 1.2.3")).toMatchObject({ usage: expect.stringContaining(":8776") });
  });

  test("-h and -v are --help and --version", () => {
    expect([peer("-h"), peer("get -h"), peer("-v"), server("-h"), server("-v")]).toEqual([
      { asked: "help" },
      { asked: "help" },
      { asked: "version" },
      { asked: "help" },
      { asked: "version" },
    ]);
  });

  test.each([
    ["serach x.mp4", "comando desconhecido: serach; você quis dizer search?"],
    ["SHARE --dir d", "comando desconhecido: SHARE; você quis dizer share?"],
    ["gte x.mp4", "comando desconhecido: gte; você quis dizer get?"],
    ["voar", "comando desconhecido: voar"],
    ["get x.mp4 --dri d", "opção desconhecida: --dri; você quis dizer --dir?"],
    ["share --dir d --max-upload 3", "opção desconhecida: --max-upload; você quis dizer --max-uploads?"],
    ["get -dash.mp4 --dir d", "opção desconhecida: -dash.mp4; um nome que começa com - vem depois de -- sozinho"],
    ["get --dash.mp4 --dir d", "opção desconhecida: --dash.mp4; um nome que começa com - vem depois de -- sozinho"],
  ])("%s: %s", (line, usage) => expect(peer(line)).toEqual({ usage }));

  test("a folder that CMD.EXE ends with \\ and a quote swallows nothing", () => {
    const args = ["share", "--dir", 'c:\\temp\\peer 1" --server 10.0.0.9:1099 --port 8777'];
    expect(parsePeer(args, {})).toMatchObject({
      folder: "c:\\temp\\peer 1",
      server: { host: "10.0.0.9", port: 1099 },
      port: 8777,
    });
    const before = ["get", "--dir", 'c:\\temp\\peer 1" Aula.mp4'];
    expect(parsePeer(before, {})).toMatchObject({ folder: "c:\\temp\\peer 1", names: ["Aula.mp4"] });
    const last = ["share", '--dir=c:\\temp\\peer 1"'];
    expect(parsePeer(last, {})).toMatchObject({ folder: "c:\\temp\\peer 1" });
  });

  test.each([" d", "d ", '"d"', "'d'", ' "d" '])("--dir %p is the folder d", (text) => {
    expect(parsePeer(["share", "--dir", text], {})).toMatchObject({ folder: "d" });
  });

  test("port 0 is a port", () => {
    expect(peer("share --dir d --port 0")).toMatchObject({ command: "share", folder: "d", port: 0 });
    expect(server("--port 0 --host 0.0.0.0")).toMatchObject({ port: 0, host: "0.0.0.0" });
  });

  test("a name may be one argument with spaces, or several words", () => {
    expect(parsePeer(["get", "Minha Aula.mp4", "--dir", "uma pasta"], {})).toMatchObject({
      names: ["Minha Aula.mp4"],
      folder: "uma pasta",
    });
    expect(peer("search Minha Aula.mp4")).toMatchObject({ command: "search", name: "Minha Aula.mp4" });
  });

  test("a name that looks like a flag comes after --, and a folder after =", () => {
    expect(peer("search -- --json")).toMatchObject({ name: "--json", json: false });
    expect(peer("share --dir=-d")).toMatchObject({ folder: "-d" });
  });

  test("a name that is a subcommand is still a name", () => {
    expect(peer("search share")).toMatchObject({ command: "search", name: "share" });
  });

  test("every flag of get is read", () => {
    expect(peer("get x.mp4 --dir d --from 1.2.3.4:5 --json --max-uploads 3 --reject-all --host 1.2.3.4")).toMatchObject(
      {
        command: "get",
        from: { host: "1.2.3.4", port: 5 },
        json: true,
        uploads: { maxUploads: 3, rejectAll: true },
        host: "1.2.3.4",
      },
    );
  });

  test.each([
    ["--nada", "opção desconhecida: --nada"],
    ["-x", "opção desconhecida: -x"],
    ["voar", "comando desconhecido: voar"],
    ["menu", "comando desconhecido: menu"],
    ["constructor", "comando desconhecido: constructor"],
    ["--constructor", "opção desconhecida: --constructor"],
    ["share", "share pede --dir PASTA"],
    ["share --dir", "--dir pede PASTA"],
    ["share --dir --json", "--dir pede PASTA"],
    ["share a --dir d", 'share não recebe "a"'],
    ["get x.mp4", "get pede --dir PASTA"],
    ["get --dir d", "get pede NOME...: um ou mais nomes de arquivo, cada um com extensão"],
    ["search x --from 1.2.3.4:5", "--from não vale para search"],
    ["--json", "--json não vale para este comando"],
    ["--json=sim", "--json não vale para este comando"],
    ["search x --json=sim", "--json não recebe valor"],
    ["--port 65536", "--port pede uma porta de 0 a 65535 (0 = qualquer porta livre)"],
    ["--port -1", "--port pede N"],
    ["--host localhost", "--host pede um IPv4, por exemplo 127.0.0.1"],
    ["--server 127.0.0.1:0", "--server pede IP ou nome, e a porta se não for 1099: 192.168.0.10:1099, meu-pc.local"],
    ["search x --only", "--only não vale para search"],
    ["search x --max-upload-rate 5M", "--max-upload-rate não vale para search"],
    ["share --dir d --max-wait 5", "--max-wait não vale para share"],
    ["get x --dir d --only=sim", "--only não recebe valor"],
    ["get x --dir d --max-wait 86401", "--max-wait pede segundos, de 0 a 86400"],
    ["get x --dir d --max-wait 1.5", "--max-wait pede segundos, de 0 a 86400"],
    ["get x --dir d --max-download-rate -5", "--max-download-rate pede TAXA"],
    ["hash", "hash pede ARQUIVO...: um ou mais arquivos, ou --verify e uma pasta"],
    ["hash --verify", "--verify pede PASTA"],
    ["hash --verify=", "--verify pede o caminho de uma pasta"],
    ["hash a.mp4 --verify d", "hash pede ARQUIVO... ou --verify, não os dois"],
    ["hash a.mp4 --server 1.2.3.4:5", "--server não vale para hash"],
    ["share --dir d --verify d", "--verify não vale para share"],
    ["--max-uploads 8x", "--max-uploads pede um número de 0 a 1000"],
  ])("%s is a mistake that is named", (line, usage) => {
    expect(peer(line)).toEqual({ usage });
  });

  test("an empty folder is a mistake", () => {
    expect(parsePeer(["share", "--dir", ""], {})).toEqual({ usage: "--dir pede o caminho de uma pasta" });
  });

  test("--help and --version win over every mistake", () => {
    expect(peer("voar --nada --help")).toEqual({ asked: "help" });
    expect(peer("get --version")).toEqual({ asked: "version" });
  });
});

describe("the address of a server", () => {
  const ID = "DT5BNTDJKEHLJYUU56A5QT6Z6YSM4HU4QQGLUTPPIRUKDTAL5XJA";
  const grouped = ID.replace(/.{4}(?=.)/g, "$&-");
  test.each([
    ["napster://192.168.0.10:1100", { host: "192.168.0.10", port: 1100 }],
    [`napster://192.168.0.10:1100#${grouped}`, { host: "192.168.0.10", port: 1100, id: ID }],
    [`NAPSTER://aula.local/#${grouped.toLowerCase()}`, { host: "aula.local", port: 1099, id: ID }],
    [`10.0.0.1#${ID}`, { host: "10.0.0.1", port: 1099, id: ID }],
  ])("%s is one, pinned where it has an ID", (text, endpoint) => {
    expect(peer(`--server ${text}`)).toMatchObject({ server: endpoint });
    expect(peer("", { NAPSTER_SERVER: text })).toMatchObject({ server: endpoint });
  });

  test.each(["10.0.0.1#", `10.0.0.1#${ID.slice(1)}`, `10.0.0.1#${ID}A`, `10.0.0.1#${ID.replace("D", "1")}`])(
    "%s has no ID behind its #",
    (text) => {
      expect(peer(`--server ${text}`)).toEqual({
        usage: "--server pede depois de # um ID de 52 letras e números, como o servidor mostra",
      });
    },
  );
  test.each(["http://10.0.0.1", "napster://", "napster:10.0.0.1", `napster://10.0.0.1:0#${ID}`])(
    "%s is none",
    (text) => {
      expect(peer(`--server ${text}`)).toHaveProperty("usage");
    },
  );
});

test("the server takes no words", () => {
  expect(server("1099")).toEqual({ usage: "comando desconhecido: 1099" });
  expect(server("")).toEqual({
    host: undefined,
    port: undefined,
    quiet: false,
    verbose: false,
    catalog: undefined,
    metrics: undefined,
    log: "lines",
    trusted: [],
    probe: true,
    discovery: { isOn: true, name: undefined },
    limits: {},
    qr: false,
    members: undefined,
    invite: undefined,
    encryption: "outside",
  });
  expect(server("--invite 30/2 --members m.txt")).toMatchObject({ invite: { people: 30, hours: 2 } });
  expect(server("--invite 1 --members m.txt")).toMatchObject({ invite: { people: 1, hours: 24 } });
  expect(server("--invite 1")).toHaveProperty("usage");
  for (const wrong of ["0", "1/0", "x", "10000", "1/2/3"])
    expect(server(`--invite ${wrong} --members m.txt`)).toHaveProperty("usage");
  expect(peer("--use-invite abcd-efgh-ijkl-mnop-qrst-uvwx")).toMatchObject({ invite: "ABCDEFGHIJKLMNOPQRSTUVWX" });
  expect(peer("--use-invite abcd")).toHaveProperty("usage");
  expect(server("--encryption off")).toMatchObject({ encryption: "never" });
  expect(server("--encryption off --members m.txt")).toEqual({ usage: "--members pede a cifra: sem ela não há IDs" });
  expect(server("--encryption on")).toEqual({ usage: "--encryption só aceita off" });
});

test("a server's name is one that can be shown", () => {
  expect(server("--name sala-3 --no-discovery")).toMatchObject({ discovery: { isOn: false, name: "sala-3" } });
  const usage = "--name pede um nome de até 63 bytes, sem barras nem controles";
  for (const name of ["a/b", "x".repeat(64), "a\u202eb"]) expect(parseServer(["--name", name])).toEqual({ usage });
});

describe("the server's limits", () => {
  const rows = [
    ["max-peers", "peers", 1, 1_000_000],
    ["max-connections", "connections", 1, 1_000_000],
    ["max-connections-per-address", "connectionsPerAddress", 1, 1_000_000],
    ["max-unjoined", "unjoined", 1, 1_000_000],
    ["max-unjoined-per-address", "unjoinedPerAddress", 1, 1_000_000],
    ["join-timeout", "unjoinedSeconds", 3, 3600],
    ["idle-timeout", "idleSeconds", 15, 3600],
    ["max-names", "names", 1, 1_000_000],
    ["max-join-bytes", "joinBytes", 1024, 64 * 1024 * 1024],
    ["max-searches", "searchesPerSecond", 1, 1_000_000],
    ["max-finds", "findsPerSecond", 1, 1_000_000],
  ] as const;
  test.each(rows)("--%s moves %s, from %d to %d and no further", (flag, key, least, most) => {
    for (const value of [least, most]) expect(server(`--${flag} ${value}`)).toMatchObject({ limits: { [key]: value } });
    for (const text of [String(least - 1), String(most + 1), "-5", "1e3", "10s", "x", "1.5", "99999999999999999999"])
      expect(parseServer([`--${flag}=${text}`])).toHaveProperty("usage");
    expect(parseServer([`--${flag}=0`])).toEqual({
      usage: `--${flag} pede ${flag.endsWith("timeout") ? "segundos," : "um número"} de ${least} a ${most}`,
    });
    expect(serverUsage()).toContain(`--${flag} `);
  });

  test("--no-probe lists without dialling back", () => {
    expect(server("--no-probe")).toMatchObject({ probe: false });
    expect(server("--no-probe=1")).toEqual({ usage: "--no-probe não recebe valor" });
  });

  test("--trust-addresses takes ranges that say what they mean", () => {
    expect(server("--trust-addresses 10.0.0.0/8,192.168.1.7/32,0.0.0.0/0")).toMatchObject({
      trusted: [
        { ip: "10.0.0.0", bits: 8 },
        { ip: "192.168.1.7", bits: 32 },
        { ip: "0.0.0.0", bits: 0 },
      ],
    });
    const wrong = [
      "10.0.0.1/8",
      "10.0.0.0",
      "10.0.0.0/33",
      "10.0.0.0/08",
      "10.0.0.0/8,",
      "10.0.0/8",
      "::/0",
      "",
      "a/8",
    ];
    for (const text of wrong)
      expect(parseServer([`--trust-addresses=${text}`])).toEqual({
        usage:
          "--trust-addresses pede redes como 10.0.0.0/8 ou 192.168.1.7/32, separadas por vírgula, sem bits depois do prefixo",
      });
  });
});

test("a peer's patience can be set where it counts", () => {
  expect(peer("share --dir d --min-rate 64Ki")).toMatchObject({ uploads: { minUploadRate: 65_536 } });
  expect(peer("get x.mp4 --dir d --stall-timeout 60")).toMatchObject({ downloads: { stallSeconds: 60 } });
  expect(peer("get x.mp4 --dir d --stall-timeout 2")).toEqual({
    usage: "--stall-timeout pede segundos, de 3 a 3600",
  });
});

test("--help names every flag that its program takes, within 80 columns", () => {
  const ofPeer = ["host", "port", "dir", "server", "from", "only", "max-wait", "max-uploads", "max-upload-rate"];
  for (const flag of [...ofPeer, "max-download-rate", "hash-rate", "reject-all", "verify", "json", "help", "version"])
    expect(peerUsage()).toContain(`--${flag} `);
  expect(serverUsage()).not.toContain("--dir");
  const widest = Math.max(...`${peerUsage()}${serverUsage()}`.split("\n").map((line) => line.length));
  expect(widest).toBeLessThanOrEqual(80);
});
