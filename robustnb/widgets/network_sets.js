// Networks that can be exchanged for those of the page, with all settings as they are.

import { choice } from "./controls.js";

// Calls `render` with a model that has the chosen networks, and anew when others are chosen.
export function withChosenNetworks({ model, el }, render) {
  const ofPage = model.get("page_networks") ?? {};
  if (Object.keys(ofPage).length === 0) return render({ model, el });
  const isPage = () => model.get("trained") === "page";
  const chosen = Object.create(model, {
    get: { value: (name) => (isPage() && name in ofPage ? ofPage[name] : model.get(name)) },
  });
  let close = null;

  function show() {
    const hasFocus = el.contains(document.activeElement);
    close?.();
    el.replaceChildren();
    close = render({ model: chosen, el });
    if (hasFocus) el.querySelector(".explorable-controls :checked").focus();
  }

  show();
  model.on("change:trained", show);
  return () => {
    model.off("change:trained", show);
    close();
  };
}

export function networksChoice(frame) {
  if (Object.keys(frame.model.get("page_networks") ?? {}).length === 0) return;
  choice(frame, {
    name: "trained",
    label: "networks",
    options: [{ value: "table", label: "of the table" }, { value: "page", label: "of this page" }],
  });
}
