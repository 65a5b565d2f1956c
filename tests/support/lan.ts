// Machines of one network: network namespaces of this test's own around a bridge, each with an address.
// The machine's own interfaces are not touched. Linux, as root, with iproute2.

export type Lan = {
  readonly machines: readonly { readonly ip: string; command(...words: string[]): string[] }[];
  /** Runs a command where all that passes between the machines can be heard. */
  atSwitch(...words: string[]): string[];
} & Disposable;

let count = 0;

function ip(...words: string[]): void {
  const { exitCode, stderr } = Bun.spawnSync(["ip", ...words]);
  if (exitCode !== 0) throw new Error(`ip ${words.join(" ")}: ${stderr}`);
}

/** A machine for each of `ips` (all in one /24), behind one switch. */
export function openLan(...ips: string[]): Lan {
  count += 1;
  const id = `${process.pid % 100_000}-${count}`;
  const made: string[] = [];
  const close = () => made.forEach((name) => void Bun.spawnSync(["ip", "netns", "del", name]));
  const add = (name: string): string => {
    ip("netns", "add", name);
    made.push(name);
    ip("-n", name, "link", "set", "lo", "up");
    return name;
  };
  try {
    const hub = add(`napster-hub-${id}`);
    ip("-n", hub, "link", "add", "name", "bridge", "type", "bridge");
    ip("-n", hub, "link", "set", "dev", "bridge", "up");
    const machines = ips.map((address, index) => {
      const name = add(`napster-${index}-${id}`);
      ip("-n", hub, "link", "add", "name", `p${index}`, "type", "veth", "peer", "name", "lan", "netns", name);
      ip("-n", hub, "link", "set", `p${index}`, "master", "bridge", "up");
      ip("-n", name, "addr", "add", `${address}/24`, "dev", "lan");
      ip("-n", name, "link", "set", "lan", "up");
      return { ip: address, command: (...words: string[]) => ["ip", "netns", "exec", name, ...words] };
    });
    const atSwitch = (...words: string[]) => ["ip", "netns", "exec", hub, ...words];
    return { machines, atSwitch, [Symbol.dispose]: close };
  } catch (error) {
    close();
    throw error;
  }
}
