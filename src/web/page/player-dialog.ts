// The player inside the page: a video of this peer's, whole or while it arrives.
// Invariant: a closed player has ended its reading.
// Never: plays by itself what the person did not ask for.

import { make, setText } from "./elements.ts";
import { texts } from "./texts.ts";

export type Player = {
  /** Opens at once, and plays when the address is there; without one it closes. */
  open(name: string, address: Promise<string | undefined>): Promise<void>;
};

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
  let opened = 0;
  dialog.addEventListener("close", () => {
    opened++;
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
    async open(name, address) {
      opened++;
      const mine = opened;
      setText(title, name);
      setText(trouble, texts.preparing);
      trouble.hidden = false;
      if (!dialog.open) dialog.showModal();
      const url = await address;
      if (mine !== opened) return;
      if (url === undefined) return dialog.close();
      trouble.hidden = true;
      video.src = url;
    },
  };
}
