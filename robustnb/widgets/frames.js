// A figure under sliders. Every picture was drawn beforehand; a slider only chooses one.

import { choice, explorable, listen, reserve, say, slider, traitBinding } from "./controls.js";

// A slider moves one of the positions, and so does a choice.
function positionBinding(frame, index) {
  const { trait, get, set } = traitBinding(frame, "positions");
  return {
    trait,
    get: () => get()[index],
    set: (chosen) => set(get().map((old, other) => (other === index ? chosen : old))),
  };
}

function render({ model, el }) {
  const sliders = model.get("sliders");
  const pictures = model.get("pictures");
  const descriptions = model.get("descriptions");
  const frame = explorable(model, el, { label: "Figure with sliders" });

  // The pictures are in the order of nested loops: the last slider runs fastest.
  function show() {
    const positions = model.get("positions");
    const place = sliders.reduce(
      (outer, { values }, index) => outer * values.length + positions[index],
      0,
    );
    frame.picture.innerHTML = pictures[place];
    say(frame, descriptions[place]);
  }

  sliders.forEach(({ name, label, values, kind }, index) => {
    const indices = values.map((_, position) => position);
    const format = (position) => values[position];
    const binding = positionBinding(frame, index);
    if (kind === "choice") {
      const options = values.map((text, value) => ({ value, label: text }));
      choice(frame, { name, label, options, binding });
    } else slider(frame, { name, label, values: indices, format, binding });
  });
  reserve(frame, descriptions);
  listen(frame, ["positions"], show);
  show();
  return frame.close;
}

export default { render };
