// Rede: the server, whether others can connect and what to do, the limits, and the page for guests.
// Invariant: a slider shows what the peer has, and asks for another value when it is let go.
// Never: changes a limit while it is dragged.

import type { Limits, State } from "../contract.ts";
import type { App, View } from "./app.ts";
import { isIdle, make, setIdle, setText } from "./elements.ts";
import { sayRate, texts } from "./texts.ts";

/** Bytes per second, from slow to fast; behind the last there is no limit. */
const RATES = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500].map((megabytes) => megabytes * 1e6);

type Slider = { readonly element: HTMLElement; show(limits: Limits): void };

function makeSlider(
  app: App,
  name: keyof Limits,
  values: readonly (number | null)[],
  say: (value: number | null) => string,
): Slider {
  const output = make("output", { for: `limit-${name}` });
  const valueAt = (index: string): number | null => values[Number(index)] ?? null;
  const tell = (): void => {
    const text = say(valueAt(input.value));
    setText(output, text);
    input.setAttribute("aria-valuetext", text);
  };
  const input = make("input", {
    type: "range",
    id: `limit-${name}`,
    min: "0",
    max: String(values.length - 1),
    step: "1",
    oninput: tell,
    onchange: () => void app.ask("limits", { [name]: valueAt(input.value) }),
  });
  const label = make("label", { for: `limit-${name}` }, texts[name]);
  return {
    element: make("div", { class: "slider" }, make("div", {}, label, output), input),
    show(limits) {
      if (document.activeElement === input && input.matches(":active")) return;
      const limit = limits[name] ?? null;
      const index = values.findIndex((value) => value !== null && limit !== null && value >= limit);
      input.value = String(limit === null || index < 0 ? values.length - 1 : index);
      tell();
      if (limit === null) return;
      setText(output, say(limit));
      input.setAttribute("aria-valuetext", say(limit));
    },
  };
}

function makeJoin(app: App): HTMLFormElement {
  const folder = make("input", { type: "text", name: "folder", required: true, autocomplete: "off" });
  const host = make("input", { type: "text", name: "host", autocomplete: "off" });
  const port = make("input", { type: "number", name: "port", min: "0", max: "65535" });
  const button = make("button", { type: "submit", class: "main" }, texts.join);
  return make(
    "form",
    {
      class: "card",
      onsubmit: async (event) => {
        event.preventDefault();
        if (isIdle(button)) return;
        setIdle(button, true);
        const at = { ...(host.value && { host: host.value }), ...(port.value && { port: Number(port.value) }) };
        await app.ask("join", { folder: folder.value, ...at });
        setIdle(button, false);
      },
    },
    make("label", { class: "field" }, texts.joinFolder, folder),
    make("label", { class: "field" }, texts.joinHost, host),
    make("label", { class: "field" }, texts.joinPort, port),
    make("p", {}, button),
  );
}

export function createNetworkView(app: App): View {
  const server = make("dd");
  const address = make("dd");
  const reached = make("dd");
  const help = make("p", { class: "soft" }, texts.unreachableHelp);
  const join = makeJoin(app);
  const guests = make("div", { class: "card" });
  const guestsAt = make("p", {});
  guests.append(make("h3", {}, texts.guests), guestsAt, make("p", { class: "soft" }, texts.guestsHelp));
  const rate = (value: number | null): string => (value === null ? texts.noLimit : sayRate(value));
  const count = (value: number | null): string => (value === 0 ? texts.none : String(value));
  const sliders = [
    makeSlider(app, "maxUploadRate", [...RATES, null], rate),
    makeSlider(app, "maxDownloadRate", [...RATES, null], rate),
    makeSlider(app, "maxUploads", [0, 1, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 50], count),
    makeSlider(app, "maxDownloads", [1, 2, 3, 4, 5, 6, 8, 10], count),
  ];
  const facts = make(
    "dl",
    {},
    make("dt", {}, texts.server),
    server,
    make("dt", {}, texts.address),
    address,
    make("dt", {}, texts.reachable),
    reached,
  );
  const limits = make("div", { class: "card" }, make("h3", {}, texts.limits), ...sliders.map(({ element }) => element));
  return {
    element: make(
      "section",
      {},
      make("h2", { tabindex: "-1" }, texts.network),
      join,
      make("div", { class: "card" }, facts, help),
      limits,
      guests,
    ),
    draw({ standing, limits: all }: State) {
      setText(server, standing.away ? `${standing.server} · ${texts.away}` : standing.server);
      setText(address, standing.address ?? texts.outside);
      setText(reached, standing.reached === undefined ? texts.unknown : standing.reached ? texts.yes : texts.no);
      help.hidden = standing.reached !== false;
      join.hidden = standing.address !== undefined;
      guests.hidden = standing.guests === undefined;
      setText(guestsAt, standing.guests ?? "");
      for (const slider of sliders) slider.show(all);
    },
  };
}
