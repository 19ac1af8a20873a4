// A figure under native sliders. Every picture was drawn beforehand; a slider only chooses one.

function element(tag, properties, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

function longest(texts) {
  return texts.reduce((first, second) => (second.length > first.length ? second : first));
}

// One row: the label, the slider and the chosen value.
function control({ label, values }, choose) {
  const slider = element("input", { type: "range", min: 0, max: values.length - 1, step: 1 });
  const output = element("output", { ariaLive: "off" }); // the slider itself reads out its value
  output.style.minWidth = `${longest(values).length}ch`;
  slider.addEventListener("input", () => choose(Number(slider.value)));

  function show(position) {
    slider.value = position;
    slider.ariaValueText = values[position];
    output.value = values[position];
  }

  const name = element("label", {}, element("span", {}, label), slider);
  return { row: element("div", { className: "explorable-control" }, name, output), show };
}

// The line that says what one sees. An invisible copy of the longest one keeps its place free,
// so that nothing below moves.
function caption(texts) {
  const spoken = element("span", { ariaLive: "polite" });
  const space = element("span", { ariaHidden: "true" }, longest(texts));
  return { line: element("p", { className: "explorable-text" }, spoken, space), spoken };
}

function render({ model, el }) {
  const sliders = model.get("sliders");
  const pictures = model.get("pictures");
  const descriptions = model.get("descriptions");

  const picture = element("div", { className: "explorable-picture" });
  const { line, spoken } = caption(descriptions);
  const controls = sliders.map((slider, index) => control(slider, (chosen) => move(index, chosen)));

  function move(index, chosen) {
    const positions = model.get("positions");
    model.set("positions", positions.map((old, other) => (other === index ? chosen : old)));
    model.save_changes();
  }

  // The pictures are in the order of nested loops: the last slider runs fastest.
  function show() {
    const positions = model.get("positions");
    const frame = sliders.reduce(
      (outer, { values }, index) => outer * values.length + positions[index],
      0,
    );
    picture.innerHTML = pictures[frame];
    spoken.textContent = descriptions[frame];
    controls.forEach(({ show }, index) => show(positions[index]));
  }

  const root = element(
    "div",
    { className: "explorable", role: "group", ariaLabel: "Figure with sliders" },
    picture,
    line,
    element("div", { className: "explorable-controls" }, ...controls.map(({ row }) => row)),
  );
  // In its command mode JupyterLab would take the arrow keys for itself.
  root.addEventListener("keydown", (event) => event.stopPropagation());

  show();
  model.on("change:positions", show);
  el.append(root);
  return () => model.off("change:positions", show);
}

export default { render };
