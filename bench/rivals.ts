// Everything that verifies what it copies and can be installed: the rivals of the copy row.
// Invariant: each is used as its manual says, with nothing slowed down; only what loopback needs is set.
// Never: lists one whose copy was not compared with the source.

import { aria2 } from "./rivals/aria2.ts";
import { libtorrent } from "./rivals/libtorrent.ts";
import { ncdc } from "./rivals/ncdc.ts";
import type { Rival } from "./rivals/rival.ts";
import { rtorrent } from "./rivals/rtorrent.ts";
import { webtorrent } from "./rivals/webtorrent.ts";

export const RIVALS: readonly Rival[] = [rtorrent, libtorrent, aria2, ncdc, webtorrent];
