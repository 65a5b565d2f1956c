// A real Chromium without a window, driven through Bun.WebView: one browser for a test file, a view for each test.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { until } from "./until.ts";

// As root, and in containers, there is no sandbox to be had; nothing of the browser's own goes to the network.
const ARGUMENTS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--autoplay-policy=no-user-gesture-required",
];

export type Look = {
  readonly width?: number;
  readonly height?: number;
  readonly dark?: boolean;
  readonly language?: string;
};

export type Tab = {
  readonly view: Bun.WebView;
  open(url: string): Promise<void>;
  /** The value of an expression in the page. */
  value<T>(expression: string): Promise<T>;
  /** Waits until the expression is true. */
  holds(expression: string): Promise<void>;
  /** Clicks the first button, or other element, whose name for a screen reader is `name`. */
  press(name: string): Promise<void>;
  type(selector: string, text: string): Promise<void>;
  picture(path: string): Promise<void>;
} & Disposable;

export type Browser = { tab(look?: Look): Promise<Tab> } & Disposable;

export const hasBrowser = (): boolean => Bun.which("chromium") !== null;

export function openBrowser(): Browser {
  const profile = mkdtempSync(join(tmpdir(), "napster-browser-"));
  const path = Bun.which("chromium") ?? "";
  return {
    async tab({ width = 1000, height = 720, dark = false, language = "pt-BR" } = {}) {
      const view = new Bun.WebView({
        width,
        height,
        backend: { type: "chrome", url: false, path, argv: [...ARGUMENTS, `--user-data-dir=${profile}`] },
      });
      await view.navigate("about:blank");
      await view.cdp("Emulation.setEmulatedMedia", {
        features: [{ name: "prefers-color-scheme", value: dark ? "dark" : "light" }],
      });
      await view.cdp("Emulation.setLocaleOverride", { locale: language });
      const agent = await view.evaluate<string>("navigator.userAgent");
      await view.cdp("Emulation.setUserAgentOverride", { userAgent: agent, acceptLanguage: language });
      await view.cdp("Emulation.setDeviceMetricsOverride", {
        width,
        height,
        deviceScaleFactor: 1,
        mobile: width < 500,
      });
      const value = <T>(expression: string): Promise<T> => view.evaluate<T>(expression);
      const named = (name: string): string =>
        `[...document.querySelectorAll("button, a, input, summary")].find((e) => e.checkVisibility() && (e.getAttribute("aria-label") ?? e.textContent).trim().startsWith(${JSON.stringify(name)}))`;
      return {
        view,
        async open(url) {
          await view.navigate(url);
        },
        value,
        holds: (expression) =>
          until(
            expression,
            () => value<boolean>(expression),
            20,
            () => "",
          ).then(() => undefined),
        async press(name) {
          await until(
            `a button ${name}`,
            () => value<boolean>(`${named(name)} !== undefined && !${named(name)}.disabled`),
            20,
          );
          await value(`${named(name)}.click()`);
        },
        async type(selector, text) {
          await value(`document.querySelector(${JSON.stringify(selector)}).focus()`);
          await view.type(text);
        },
        async picture(file) {
          await Bun.write(file, await view.screenshot({ encoding: "buffer", format: "png" }));
        },
        [Symbol.dispose]: () => view.close(),
      };
    },
    [Symbol.dispose]() {
      Bun.WebView.closeAll();
      rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}
