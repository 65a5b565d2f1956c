import { describe, expect, test } from "bun:test";
import { parsePeer, parseServer, peerUsage, SERVER_DEFAULT, serverUsage } from "../../src/config.ts";
import { UPLOADS_DEFAULT } from "../../src/protocol/limits.ts";

const peer = (line: string, environment: Record<string, string> = {}) =>
  parsePeer(line === "" ? [] : line.split(" "), environment);
const server = (line: string) => parseServer(line === "" ? [] : line.split(" "));

describe("the peer's command line", () => {
  test("no words mean the menu, and the server at its default", () => {
    expect(peer("")).toEqual({
      command: "menu",
      server: SERVER_DEFAULT,
      host: undefined,
      port: undefined,
      folder: undefined,
      json: false,
      maxUploads: UPLOADS_DEFAULT,
      rejectAll: false,
    });
  });

  test("--server wins over NAPSTER_SERVER, which wins over the default", () => {
    const environment = { NAPSTER_SERVER: "10.0.0.1:5" };
    expect(peer("", environment)).toMatchObject({ server: { ip: "10.0.0.1", port: 5 } });
    expect(peer("--server 10.0.0.2:6", environment)).toMatchObject({ server: { ip: "10.0.0.2", port: 6 } });
    expect(peer("", { NAPSTER_SERVER: "" })).toMatchObject({ server: SERVER_DEFAULT });
    expect(peer("", { NAPSTER_SERVER: "aqui" })).toMatchObject({ usage: expect.stringContaining("NAPSTER_SERVER") });
  });

  test("port 0 is a port", () => {
    expect(peer("share --dir d --port 0")).toMatchObject({ command: "share", folder: "d", port: 0 });
    expect(server("--port 0 --host 0.0.0.0")).toMatchObject({ port: 0, host: "0.0.0.0" });
  });

  test("a name may be one argument with spaces, or several words", () => {
    expect(parsePeer(["get", "Minha Aula.mp4", "--dir", "uma pasta"], {})).toMatchObject({
      name: "Minha Aula.mp4",
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
        from: { ip: "1.2.3.4", port: 5 },
        json: true,
        maxUploads: 3,
        rejectAll: true,
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
    ["get --dir d", "get pede NOME: o nome do arquivo com extensão"],
    ["search x --from 1.2.3.4:5", "--from não vale para search"],
    ["--json", "--json não vale para este comando"],
    ["--json=sim", "--json não vale para este comando"],
    ["search x --json=sim", "--json não recebe valor"],
    ["--port 65536", "--port pede uma porta de 0 a 65535 (0 = qualquer porta livre)"],
    ["--port -1", "--port pede N"],
    ["--host localhost", "--host pede um IPv4, por exemplo 127.0.0.1"],
    ["--server 127.0.0.1", "--server pede IP:PORTA, por exemplo 127.0.0.1:1099"],
    ["--server 127.0.0.1:0", "--server pede IP:PORTA, por exemplo 127.0.0.1:1099"],
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

test("the server takes no words", () => {
  expect(server("1099")).toEqual({ usage: "comando desconhecido: 1099" });
  expect(server("")).toEqual({ host: undefined, port: undefined, quiet: false, verbose: false });
});

test("--help names every flag that its program takes, within 80 columns", () => {
  for (const flag of ["host", "port", "dir", "server", "from", "max-uploads", "reject-all", "json", "help", "version"])
    expect(peerUsage()).toContain(`--${flag} `);
  expect(serverUsage()).not.toContain("--dir");
  const widest = Math.max(...`${peerUsage()}${serverUsage()}`.split("\n").map((line) => line.length));
  expect(widest).toBeLessThanOrEqual(80);
});
