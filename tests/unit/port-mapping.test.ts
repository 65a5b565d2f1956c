import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { createRouterMapping } from "../../src/peer/router-mapping.ts";
import { decodeMapped, encodeMap, NAT_PMP_PORT } from "../../src/port-mapping/nat-pmp.ts";
import { LEASE_SECONDS, openPortMapping, type RouterNet } from "../../src/port-mapping/port-mapper.ts";
import { ANSWER_BYTES_MAX, askRouter, ROUTER_SECONDS_MAX } from "../../src/port-mapping/router-http.ts";
import { descriptionIn, placeOf, refusalIn, SSDP_PORT, serviceIn } from "../../src/port-mapping/upnp-messages.ts";
import type { Address } from "../../src/protocol/address.ts";
import { fault } from "../../src/protocol/fault.ts";
import type { Connect, Connection, Handlers } from "../../src/transport/connection.ts";
import { gatewayIn } from "../../src/transport/gateway.ts";
import { createVirtualClock, turn } from "../support/clock.ts";

const ROUTER = "192.168.1.1";
const TO = { ip: "192.168.1.20", port: 8776 };
const SERVICE = "urn:schemas-upnp-org:service:WANIPConnection:1";
const DESCRIPTION = `<root><service><serviceType>urn:other</serviceType><controlURL>/no</controlURL></service>
  <service><serviceType>${SERVICE}</serviceType><controlURL>/ctl</controlURL></service></root>`;
const found = (location: string): string => `HTTP/1.1 200 OK\r\nST: upnp:rootdevice\r\nLOCATION: ${location}\r\n\r\n`;
const page = (status: number, body: string): string =>
  `HTTP/1.1 ${status} OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
const refusal = (code: number): string => page(500, `<s:Fault><errorCode>${code}</errorCode></s:Fault>`);

function mappedBytes(to: number, port: number, seconds: number, result = 0): Uint8Array {
  const view = new DataView(new ArrayBuffer(16));
  view.setUint8(1, 130);
  view.setUint16(2, result);
  view.setUint16(8, to);
  view.setUint16(10, port);
  view.setUint32(12, seconds);
  return new Uint8Array(view.buffer);
}

type Router = {
  /** Answers to what is sent to this port by UDP, each from an address. */
  readonly udp?: (port: number, bytes: Uint8Array) => { bytes: Uint8Array; from: Address } | undefined;
  /** Answers to a request by HTTP; undefined for silence. */
  readonly http?: (request: string) => string | undefined;
};

/** A machine with that router, on a clock; `dialled` and `asked` are what it did. */
function machineWith({ udp, http }: Router) {
  const clock = createVirtualClock();
  const dialled: Address[] = [];
  const asked: string[] = [];
  let destroyed = 0;
  const connect: Connect = async (to, open) => {
    dialled.push(to);
    let handlers: Handlers | undefined;
    const connection = {
      send(text: string) {
        asked.push(text);
        const answer = http?.(text);
        if (answer !== undefined) queueMicrotask(() => handlers?.data(Buffer.from(answer, "latin1")));
      },
      destroy: () => void destroyed++,
    } as unknown as Connection;
    handlers = open(connection);
    return http === undefined ? fault("PEER_UNREACHABLE", "network") : connection;
  };
  const net: RouterNet = {
    gateway: async () => ROUTER,
    random: () => 0.5,
    connect,
    open: async (_, hear) => ({
      send(bytes, to) {
        const answer = to.ip === ROUTER ? udp?.(to.port, bytes) : undefined;
        if (answer !== undefined) hear(answer.bytes, answer.from);
      },
      join: () => true,
      close() {},
    }),
  };
  /** What the mapping comes to, with all the time that it takes. */
  async function map() {
    let mapping: unknown = "pending";
    void openPortMapping({ to: TO, net, clock }).then((result) => {
      mapping = result;
    });
    const began = clock.now();
    while (mapping === "pending" && clock.now() - began < 60_000) await clock.advance(50);
    return { mapping: mapping as Awaited<ReturnType<typeof openPortMapping>>, ms: clock.now() - began };
  }
  return { clock, net, connect, dialled, asked, map, destroyed: () => destroyed };
}

const text = (of: string): Uint8Array => new TextEncoder().encode(of);
const ssdp =
  (location: string, ip = ROUTER) =>
  (port: number) =>
    port === SSDP_PORT ? { bytes: text(found(location)), from: { ip, port: SSDP_PORT } } : undefined;

describe("NAT-PMP", () => {
  const pmp = (answer: Uint8Array, from: Address = { ip: ROUTER, port: NAT_PMP_PORT }) =>
    machineWith({ udp: (port) => (port === NAT_PMP_PORT ? { bytes: answer, from } : undefined) });

  test("maps a port, renews it at half of its lease, and gives it back", async () => {
    const sent: Uint8Array[] = [];
    const { clock, map } = machineWith({
      udp(port, bytes) {
        sent.push(bytes);
        return { bytes: mappedBytes(TO.port, 40_000, 1000), from: { ip: ROUTER, port } };
      },
    });
    const { mapping } = await map();
    expect(mapping).toMatchObject({ by: "NAT-PMP", router: ROUTER, port: 40_000 });
    expect(sent).toEqual([encodeMap(TO.port, TO.port, LEASE_SECONDS)]);
    await clock.advance(500_000);
    expect(sent.slice(1)).toEqual([encodeMap(TO.port, 40_000, LEASE_SECONDS)]);
    const closing = mapping?.close();
    await clock.advance(1000);
    await closing;
    expect(sent.slice(2)).toEqual([encodeMap(TO.port, 0, 0)]);
    await clock.advance(10_000_000);
    expect(sent).toHaveLength(3);
  });

  test.each([
    ["from another machine", mappedBytes(TO.port, 1, 60), { ip: "192.168.1.9", port: NAT_PMP_PORT }],
    ["from another port of the router", mappedBytes(TO.port, 1, 60), { ip: ROUTER, port: 9 }],
    ["about another port", mappedBytes(1, 1, 60), undefined],
    ["that refuses", mappedBytes(TO.port, 1, 60, 2), undefined],
    ["of a port 0", mappedBytes(TO.port, 0, 60), undefined],
    ["that is too long", new Uint8Array(1500).fill(130), undefined],
  ])("an answer %s maps nothing, within some seconds", async (_, answer, from) => {
    const { mapping, ms } = await pmp(answer, from).map();
    expect(mapping).toBeUndefined();
    expect(ms).toBeLessThan(8000);
  });
});

describe("UPnP", () => {
  test("finds the service of the router and maps the port there, and deletes it at the end", async () => {
    const { map, asked, dialled } = machineWith({
      udp: ssdp(`http://${ROUTER}:5000/desc.xml`),
      http: (request) => page(200, request.startsWith("GET") ? DESCRIPTION : "<ok/>"),
    });
    const { mapping } = await map();
    expect(mapping).toMatchObject({ by: "UPnP", router: ROUTER, port: TO.port });
    expect(asked[0]).toStartWith("GET /desc.xml HTTP/1.1\r\nHOST: 192.168.1.1:5000\r\n");
    expect(asked[1]).toContain(`SOAPACTION: "${SERVICE}#AddPortMapping"\r\n`);
    expect(asked[1]).toContain(`<NewInternalClient>${TO.ip}</NewInternalClient>`);
    expect(asked[1]).toContain(`<NewLeaseDuration>${LEASE_SECONDS}</NewLeaseDuration>`);
    await mapping?.close();
    expect(asked[2]).toContain(`SOAPACTION: "${SERVICE}#DeletePortMapping"\r\n`);
    expect(dialled.every(({ ip }) => ip === ROUTER)).toBeTrue();
  });

  test("takes another port where one is taken, and maps for ever where the router does nothing else", async () => {
    const answers = [page(200, DESCRIPTION), refusal(718), refusal(725), page(200, "<ok/>")];
    const { map, asked } = machineWith({ udp: ssdp(`http://${ROUTER}/d`), http: () => answers.shift() });
    const { mapping } = await map();
    expect(mapping?.port).toBe(1024 + (65_536 - 1024) / 2);
    expect(asked.at(-1)).toContain("<NewLeaseDuration>0</NewLeaseDuration>");
  });

  test("a router that refuses for ever is asked a few times", async () => {
    const { map, asked } = machineWith({
      udp: ssdp(`http://${ROUTER}/d`),
      http: (request) => (request.startsWith("GET") ? page(200, DESCRIPTION) : refusal(718)),
    });
    expect((await map()).mapping).toBeUndefined();
    expect(asked.length).toBeLessThan(8);
  });
});

describe("a hostile network", () => {
  const LEADS_AWAY = [
    ["another machine's answer", ssdp(`http://${ROUTER}/d`, "192.168.1.66")],
    ["a description on another machine", ssdp("http://192.168.1.66/d")],
    ["a description by name", ssdp("http://router.local/d")],
    ["a description by another scheme", ssdp(`file://${ROUTER}/etc/passwd`)],
    ["credentials in the address", ssdp(`http://${ROUTER}:80@192.168.1.66/d`)],
    ["a line break in the address", ssdp(`http://${ROUTER}/d\n\nX: y`)],
  ] as const;
  test.each(LEADS_AWAY)("%s is not followed", async (_, udp) => {
    const { map, dialled } = machineWith({ udp, http: () => page(200, DESCRIPTION) });
    await map();
    expect(dialled).toEqual([]);
  });

  test("a control address on another machine is not called", () => {
    const at = { port: 80, path: "/d" };
    const pointing = DESCRIPTION.replace("/ctl", "http://10.0.0.9/ctl");
    expect(serviceIn(pointing, ROUTER, at)).toBeUndefined();
    expect(serviceIn(DESCRIPTION.replace("/ctl", "//10.0.0.9/ctl"), ROUTER, at)).toBeUndefined();
    expect(serviceIn(DESCRIPTION, ROUTER, at)).toEqual({ port: 80, path: "/ctl", type: SERVICE });
  });

  const ANSWERS = [
    ["a redirect", () => `HTTP/1.1 302 Found\r\nLocation: http://10.0.0.9/\r\nContent-Length: 0\r\n\r\n`],
    ["a description without end", () => `HTTP/1.1 200 OK\r\n\r\n${"<service>".repeat(ANSWER_BYTES_MAX / 9 + 1)}`],
    ["a head without end", () => `HTTP/1.1 200 OK\r\n${"x: y\r\n".repeat(5000)}`],
    ["a length of anything", () => "HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n<root>"],
    ["an entity bomb", () => page(200, `<!DOCTYPE x [<!ENTITY a "${"b".repeat(1000)}">]>${"&a;".repeat(5000)}`)],
    ["silence", () => undefined],
  ] as const;
  test.each(ANSWERS)("%s maps nothing, and is over within seconds", async (_, http) => {
    const { map, dialled } = machineWith({ udp: ssdp(`http://${ROUTER}/d`), http });
    const { mapping, ms } = await map();
    expect(mapping).toBeUndefined();
    expect(ms).toBeLessThan(10_000);
    expect(dialled.every(({ ip }) => ip === ROUTER)).toBeTrue();
  });

  test("a router that sends byte by byte is cut off when its time is over", async () => {
    const { clock, connect, destroyed } = machineWith({ http: () => "H" });
    const asking = askRouter({ router: ROUTER, port: 80, path: "/" }, connect, clock);
    await turn();
    await clock.advance(ROUTER_SECONDS_MAX * 1000);
    expect(await asking).toBeUndefined();
    expect(destroyed()).toBe(1);
  });

  test("of any bytes nothing is read that is not at the router", () => {
    const piece = fc.constantFrom(
      ...["<service>", "</service>", "<serviceType>", "</serviceType>", "<controlURL>", "</controlURL>", SERVICE],
      ...[
        "http://",
        ROUTER,
        ":80",
        "/",
        "10.0.0.9",
        "HTTP/1.1 200 OK\r\n",
        "LOCATION: ",
        "\r\n",
        "\n",
        "@",
        "//",
        "\0",
      ],
    );
    const anyText = fc
      .array(fc.oneof(piece, fc.string({ maxLength: 4 })), { maxLength: 24 })
      .map((all) => all.join(""));
    fc.assert(
      fc.property(anyText, fc.uint8Array({ maxLength: 40 }), (words, bytes) => {
        for (const place of [
          placeOf(words, ROUTER),
          descriptionIn(`HTTP/1.1 200 OK\r\nLOCATION: ${words}`, ROUTER),
          serviceIn(words, ROUTER, { port: 80, path: "/" }),
        ]) {
          if (place === undefined) continue;
          expect(place.path).toMatch(/^\/[\x21-\x7e]*$/);
          expect(place.port).toBeGreaterThan(0);
        }
        refusalIn(words);
        const mapped = decodeMapped(bytes, 1);
        if (typeof mapped === "object") expect(mapped.port).toBeGreaterThan(0);
      }),
      { numRuns: 2000 },
    );
  });
});

describe("a peer's mapping", () => {
  const at = { ip: "192.168.1.20", port: 8776 };
  function mappingOf(own: string) {
    const opened: number[] = [];
    const closed: number[] = [];
    const mapped: number[] = [];
    let unmapped = 0;
    const router = createRouterMapping({
      async open({ port }) {
        opened.push(port);
        return { by: "UPnP", router: ROUTER, port: port + 1, close: async () => void closed.push(port) };
      },
      localIp: async () => own,
      onMapped: ({ port }) => void mapped.push(port),
      onUnmapped: () => void unmapped++,
    });
    return { router, opened, closed, mapped, unmapped: () => unmapped };
  }

  test("is asked for only where the server sees another address than ours", async () => {
    const near = mappingOf(at.ip);
    await near.router.want(at, at);
    expect([near.opened, near.unmapped()]).toEqual([[], 1]);
    const loop = mappingOf("127.0.0.1");
    await loop.router.want(at, { ip: "203.0.113.9", port: 8776 });
    expect(loop.opened).toEqual([]);
  });

  test("is one, for the port where the peer listens now, and is given back", async () => {
    const { router, opened, closed, mapped } = mappingOf(at.ip);
    const seen = { ip: "203.0.113.9", port: 8776 };
    await Promise.all([router.want(at, seen), router.want(at, seen)]);
    expect(opened).toEqual([8776]);
    expect(new Set(mapped)).toEqual(new Set([8777]));
    await router.want({ ...at, port: 9000 }, seen);
    expect(closed).toEqual([8776]);
    router.moved(9000);
    expect(closed).toEqual([8776]);
    await router.close();
    expect(closed).toEqual([8776, 9000]);
    await router.want(at, seen);
    expect(opened).toEqual([8776, 9000]);
  });

  test("of a person who wants none is none", async () => {
    let unmapped = 0;
    const onUnmapped = () => void unmapped++;
    const router = createRouterMapping({ open: undefined, localIp: async () => at.ip, onMapped() {}, onUnmapped });
    await router.want(at, { ip: "203.0.113.9", port: 1 });
    expect(unmapped).toBe(1);
    await router.close();
  });
});

test("the default gateway is that of the route that the system prefers", () => {
  const head = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT";
  const row = (to: string, by: string, flags: string, metric: number, mask = "00000000") =>
    `eth0\t${to}\t${by}\t${flags}\t0\t0\t${metric}\t${mask}\t0\t0\t0`;
  const routes = [head, row("00000000", "0101A8C0", "0003", 600), row("00000000", "FE00000A", "0003", 100)];
  expect(gatewayIn([...routes, row("0001A8C0", "00000000", "0001", 1, "00FFFFFF")].join("\n"))).toBe("10.0.0.254");
  expect(gatewayIn(`${head}\n${row("00000000", "00000000", "0001", 0)}`)).toBeUndefined();
  expect(gatewayIn("")).toBeUndefined();
});
