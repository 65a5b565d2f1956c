// The player inside the page: a video of this peer's, whole or while it arrives.
// Invariant: a closed player has ended its reading.
// Never: plays by itself what the person did not ask for.

import { make, setText } from "./elements.ts";
import { texts } from "./texts.ts";

export type Player = { open(name: string, url: string): void };

export function createPlayer(): Player {
  const title = make("h2", { id: "player-title" });
  const trouble = make("p", { class: "soft", hidden: true, role: "alert" });
  const video = make("video", { controls: true, autoplay: true, playsinline: true });
  const dialog = make(
    "dialog",
    { "aria-labelledby": "player-title" },
    make(
      "div",
      { class: "item" },
      title,
      make("button", { type: "button", onclick: () => dialog.close() }, texts.close),
    ),
    video,
    trouble,
  );
  dialog.addEventListener("close", () => {
    video.removeAttribute("src");
    video.load(); // ends its request
  });
  video.addEventListener("error", () => {
    if (!video.hasAttribute("src")) return;
    setText(trouble, `${texts.cannotPlay} ${video.src}`);
    trouble.hidden = false;
  });
  document.body.append(dialog);
  return {
    open(name, url) {
      setText(title, name);
      trouble.hidden = true;
      video.src = url;
      if (!dialog.open) dialog.showModal();
    },
  };
}
