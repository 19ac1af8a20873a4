// A figure under sliders. Every picture was drawn beforehand; a slider only chooses one.

// A slider moves one of the positions.
function positionBinding(model, index) {
  return {
    trait: "positions",
    get: () => model.get("positions")[index],
    set(chosen) {
      const positions = model.get("positions");
      model.set("positions", positions.map((old, other) => (other === index ? chosen : old)));
      model.save_changes();
    },
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

  sliders.forEach(({ name, label, values }, index) => {
    const indices = values.map((_, position) => position);
    const format = (position) => values[position];
    slider(frame, { name, label, values: indices, format, binding: positionBinding(model, index) });
  });
  reserve(frame, descriptions);
  listen(frame, ["positions"], show);
  show();
  return frame.close;
}

export default { render };
