// The subcommand web, key W of the menu, and --guests: the page opened, told, and kept as long as the person stays.
// Invariant: what could not be opened has been told; a JOIN that fails leaves the page open, which offers it again.
// Never: reads the keyboard.

import { type ActionContext, join } from "../console/actions.ts";
import { openFileWithSystem } from "../console/player.ts";
import { EXIT } from "../console/shutdown.ts";
import { isStop } from "../console/terminal/questions.ts";
import { wideComplaint } from "../console/text/complaints.ts";
import type { Report } from "../console/text/report.ts";
import type { JoinAt } from "../peer/requests.ts";
import { type Address, LOOPBACK } from "../protocol/address.ts";
import { type Fault, fault, isFault } from "../protocol/fault.ts";
import { type Page, uninvitedComplaint } from "./page.ts";
import { qrLines } from "./qr.ts";

type WebTask = {
  readonly host: string | undefined;
  readonly port: number | undefined;
  readonly folder: string;
  readonly webPort: number;
  readonly open: boolean;
};

/** Opens the page and says where it is; with `isToOpen` in the person's browser too. Whether there is one. */
export async function showPage(page: Page, report: Report, isToOpen: boolean, port = 0): Promise<boolean> {
  const url = await page.open();
  if (isFault(url)) report.failed(url, { at: { ip: LOOPBACK, port } });
  else {
    report.page(url);
    if (isToOpen) void openFileWithSystem(url);
  }
  return !isFault(url);
}

/** Opens the page for guests and says where it is. Whether there is one. */
export async function invite(page: Page, report: Report, host: string | undefined): Promise<boolean> {
  const url = await page.invite(host);
  if (isFault(url)) report.complain(uninvitedComplaint(url));
  else report.guests(url, qrLines(url));
  return !isFault(url);
}

/** A JOIN that the page asked for, told as one of the console's. */
export async function joinForPage(context: ActionContext, at: JoinAt): Promise<Address | Fault> {
  const { folder } = at;
  await context.seeker?.again();
  if (folder !== undefined && context.isWide(folder)) context.report.warn(wideComplaint(folder));
  const joined = await join(context, at);
  return isStop(joined) ? fault("CANCELLED", "ours") : joined;
}

/** `web`: until the person leaves. */
export async function runWeb(context: ActionContext, page: Page, task: WebTask): Promise<number> {
  const { host, port = 0, folder, webPort, open } = task;
  if (!(await showPage(page, context.report, open, webPort))) return EXIT.failed;
  await joinForPage(context, { host, port, folder });
  await context.life.during(new Promise<never>(() => {}));
  return EXIT.done;
}
