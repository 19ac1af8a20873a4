// What all explorables share: the frame, the controls under it and the parts of the picture.

// --- Elements

export function element(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

export function svgElement(tag, attributes = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

export function longest(texts) {
  return texts.reduce((first, second) => (second.length > first.length ? second : first), "");
}

// --- The frame: a picture, a line of text that says what one sees, and the controls

// `label` names the whole for screen readers. A module ends its render with `return frame.close`.
export function explorable(model, el, { label }) {
  const picture = element("div", { className: "explorable-picture" });
  const text = element("span", { ariaLive: "polite" });
  const space = element("span", { ariaHidden: "true" });
  const line = element("p", { className: "explorable-text" }, text, space);
  const controls = element("div", { className: "explorable-controls" });
  const foot = element("div", { className: "explorable-foot" }, line, controls);
  const buttons = element("div", { className: "explorable-buttons" });
  const root = element(
    "div",
    { className: "explorable", role: "group", ariaLabel: label },
    picture,
    foot,
  );
  controls.append(buttons);
  // In its command mode JupyterLab would take the arrow keys for itself.
  root.addEventListener("keydown", (event) => event.stopPropagation());
  const frame = { model, root, picture, text, space, controls, buttons, endings: [], said: "" };
  frame.close = () => {
    frame.waiting = frame.steps = null;
    clearTimeout(frame.pause);
    frame.endings.forEach((end) => end());
  };
  el.append(root);
  watchWidth(frame);
  addCopyButton(frame);
  return frame;
}

const NARROW = 448; // pixels, as in explorable.css: a phone, where pictures are drawn smaller

// Draws anew when the frame becomes narrow or wide, as when a phone is turned.
function watchWidth(frame) {
  const { root } = frame;
  const mark = () => {
    const isNarrow = root.clientWidth > 0 && root.clientWidth < NARROW;
    const isNew = isNarrow !== root.classList.contains("explorable-narrow");
    root.classList.toggle("explorable-narrow", isNarrow);
    if (isNew) frame.redraw?.();
  };
  const observer = new ResizeObserver(mark);
  mark();
  observer.observe(root);
  frame.endings.push(() => observer.disconnect());
}

// Calls `update` with the values of the named traits: now, and before the frame after a change.
export function follow(frame, names, update) {
  const read = (name) => [name, frame.model.get(name)];
  const updateNow = () => update(Object.fromEntries(names.map(read)));
  frame.redraw = () => nextFrame(frame, updateNow);
  listen(frame, names, frame.redraw);
  updateNow();
}

// Calls back at each change of the named traits, until the frame is closed.
export function listen(frame, names, callback) {
  for (const event of names.map((name) => `change:${name}`)) {
    frame.model.on(event, callback);
    frame.endings.push(() => frame.model.off(event, callback));
  }
}

const PACE = 300; // milliseconds from one text to the next: no one reads or hears faster

// The first text is shown at once; of those that follow in the pause after it only the newest.
export function say(frame, text) {
  frame.said = text;
  if (frame.pause) showBusy(frame);
  else sayNow(frame);
}

function sayNow(frame) {
  const { said, text } = frame;
  clearTimeout(frame.pause);
  frame.pause = null;
  if (text.textContent !== said) {
    text.textContent = said;
    reserve(frame, [said]);
    frame.pause = setTimeout(sayNow, PACE, frame);
  }
  showBusy(frame);
}

// Keeps room for the longest of these texts, so that nothing below moves back and forth.
export function reserve(frame, texts) {
  frame.space.textContent = longest([frame.space.textContent, ...texts]);
}

// Where there is no kernel, the state is in the page's address.
function addCopyButton(frame) {
  const press = () => copyLink(frame);
  if (frame.model.link) frame.copy = button(frame, { name: "copy", label: "Copy link", press });
  else frame.buttons.hidden = true;
}

async function copyLink(frame) {
  const link = frame.model.link();
  try {
    await navigator.clipboard.writeText(link);
    sayBriefly(frame, "The link to this setting is copied.");
  } catch {
    say(frame, `This setting's link: ${link}`); // the browser keeps the clipboard to itself
  }
}

const BRIEF = 2000; // milliseconds

// Says something in the place of the text, which then comes back.
function sayBriefly(frame, text) {
  const before = frame.said;
  frame.said = text;
  sayNow(frame);
  setTimeout(() => {
    if (frame.said === text) say(frame, before);
  }, BRIEF);
}

// --- Controls

// A control reads and writes one trait, unless `binding` says otherwise.
export function traitBinding({ model }, name) {
  return {
    trait: name,
    get: () => model.get(name),
    set: (value) => {
      model.set(name, value);
      model.save_changes();
    },
  };
}

// `show` brings a control up to date; it hides itself when its name is in the trait `hidden`.
function addControl(frame, { name, label, trait }, row, show) {
  const hide = () => {
    row.hidden = frame.model.get("hidden").includes(name);
  };
  frame.model.controls?.set(name, label);
  frame.controls.insertBefore(row, frame.buttons);
  listen(frame, ["hidden"], hide);
  listen(frame, [trait], show);
  hide();
  show();
}

function steppedValues({ min, max, step }) {
  const count = Math.round((max - min) / step) + 1;
  return Array.from({ length: count }, (_, i) => Number((min + i * step).toFixed(10)));
}

function nearestIndex(values, value) {
  const exact = values.indexOf(value);
  if (exact >= 0 || typeof value !== "number") return Math.max(0, exact);
  const distances = values.map((other) => Math.abs(other - value));
  return distances.indexOf(Math.min(...distances));
}

// One of a list of values, or of min, min + step, ..., max.
export function slider(frame, { name, label, values, min, max, step, format = String, binding }) {
  const options = values ?? steppedValues({ min, max, step });
  const { trait, get, set } = binding ?? traitBinding(frame, name);
  if (!binding) frame.model.restrict?.(name, (value) => options[nearestIndex(options, value)]);
  const input = element("input", { type: "range", min: 0, max: options.length - 1, step: 1 });
  const output = element("output", { ariaLive: "off" }); // the slider itself reads out its value
  output.style.minWidth = `${longest(options.map(format)).length}ch`;
  input.addEventListener("input", () => set(options[Number(input.value)]));

  function show() {
    input.value = nearestIndex(options, get());
    input.ariaValueText = format(get());
    output.value = format(get());
  }

  const reason = element("small", { ariaHidden: "true" }); // see turnOff
  const place = element("span", { className: "explorable-slider" }, input, reason);
  const named = element("label", {}, element("span", {}, label), place);
  const row = element("div", { className: "explorable-control" }, named, output);
  addControl(frame, { name, label, trait }, row, show);
  return input;
}

// One of `options`, each a value or { value, label }: a row of radio buttons if they are few and
// short, else a list to unfold.
export function choice(frame, { name, label, options, binding }) {
  const all = options.map((option) =>
    typeof option === "object" ? option : { value: option, label: String(option) });
  if (!binding) {
    frame.model.restrict?.(name, (value) =>
      all.some((option) => option.value === value) ? value : all[0].value);
  }
  const letters = all.reduce((total, option) => total + option.label.length + 2, 0);
  const make = all.length <= 5 && letters <= 48 ? radioChoice : listChoice;
  make(frame, name, label, all, binding ?? traitBinding(frame, name));
}

function listChoice(frame, name, label, options, { trait, get, set }) {
  const select = element("select", {}, ...options.map((option) => new Option(option.label)));
  select.addEventListener("change", () => set(options[select.selectedIndex].value));
  const show = () => {
    select.selectedIndex = options.findIndex((option) => option.value === get());
  };
  const named = element("label", {}, element("span", {}, label), select);
  const row = element("div", { className: "explorable-control explorable-wide" }, named);
  addControl(frame, { name, label, trait }, row, show);
}

function radioChoice(frame, name, label, options, binding) {
  const faces = options.map((option) => element("span", {}, option.label));
  radioRow(frame, name, label, options, faces, binding);
}

function radioRow(frame, name, label, options, faces, { trait, get, set }) {
  const group = `${name}-${Math.random()}`; // of this page alone
  const inputs = options.map(() => element("input", { type: "radio", name: group }));
  inputs.forEach((input, i) => input.addEventListener("change", () => set(options[i].value)));
  const show = () => inputs.forEach((input, i) => {
    input.checked = options[i].value === get();
  });
  const radios = element(
    "div",
    { className: "explorable-radios", role: "radiogroup", ariaLabel: label },
    ...inputs.map((input, i) => element("label", {}, input, faces[i])),
  );
  const title = element("span", { ariaHidden: "true" }, label);
  const row = element("div", { className: "explorable-control explorable-wide" }, title, radios);
  addControl(frame, { name, label, trait }, row, show);
}

// The index of one of several pictures, chosen by their thumbnails; `labels` name them. The trait
// may be greater by `more`, for pictures that are chosen otherwise.
export function pictureChoice(frame, { name, label, pictures, shape, labels, more = 0 }) {
  const options = pictures.map((_, value) => ({ value }));
  const accepted = Array.from({ length: pictures.length + more }, (_, i) => i);
  frame.model.restrict?.(name, (value) => nearestIndex(accepted, value));
  const faces = pictures.map((pixels, i) => {
    const canvas = element("canvas", { role: "img", ariaLabel: labels[i] });
    drawImage(canvas, pixels, shape);
    return canvas;
  });
  radioRow(frame, name, label, options, faces, traitBinding(frame, name));
}

// Returns the button, whose text a module may change.
export function button(frame, { name, label, press }) {
  const node = element("button", { type: "button" }, label);
  node.addEventListener("click", press);
  const hide = () => {
    node.hidden = frame.model.get("hidden").includes(name);
    frame.buttons.hidden = [...frame.buttons.children].every((other) => other.hidden);
  };
  frame.model.controls?.set(name, label);
  frame.buttons.insertBefore(node, frame.copy ?? null);
  listen(frame, ["hidden"], hide);
  hide();
  return node;
}

// Turns a slider off for a reason, which stands in its place; "" turns it on.
export function turnOff(input, reason) {
  Object.assign(input, { disabled: reason !== "", ariaDescription: reason });
  input.nextSibling.textContent = reason;
}

// Where a button would change nothing, its place is empty.
export function offer(node, isUseful) {
  node.style.visibility = isUseful ? "" : "hidden";
}

// Draws anew: the seed is part of the address.
export function seedButton(frame, label) {
  const { get, set } = traitBinding(frame, "seed");
  return button(frame, { name: "seed", label, press: () => set((get() + 1) % 2 ** 32) });
}

// --- Time

// Does the newest work before the next frame is painted, however many events ask for it.
function nextFrame(frame, work) {
  if (!frame.waiting) requestAnimationFrame(() => doWaiting(frame));
  frame.waiting = work;
  showBusy(frame);
}

function doWaiting(frame) {
  const work = frame.waiting;
  frame.waiting = null;
  work?.(); // the frame may have been closed
  showBusy(frame);
}

const SLICE = 8; // milliseconds of every frame for long work

// Runs a generator in slices, between which the page lives on; newer work ends the older.
export function inSlices(frame, steps) {
  frame.steps = steps;

  function slice() {
    const start = performance.now();
    while (frame.steps === steps && performance.now() - start < SLICE) {
      if (steps.next().done) frame.steps = null;
    }
    if (frame.steps === steps) setTimeout(slice);
    showBusy(frame);
  }

  slice();
}

// Lets the kernel answer what the page cannot compute. Returns a function that asks about a
// setting: one question is out at a time, and of those that come up meanwhile only the newest
// follows. `show` gets the answer and its setting.
export function kernelQuestions(frame, show) {
  const { model } = frame;
  let next = null;

  function ask() {
    [frame.asked, next] = [next, null];
    if (frame.asked) model.send({ setting: frame.asked });
    showBusy(frame);
  }

  function listenTo({ setting, error, ...answer }) {
    if (JSON.stringify(setting) !== JSON.stringify(frame.asked)) return; // another view's
    if (error) say(frame, error);
    else show(answer, setting);
    ask();
  }

  model.on("msg:custom", listenTo);
  frame.endings.push(() => model.off("msg:custom", listenTo));
  say(frame, "The kernel computes the answers.");
  return (setting) => {
    next = setting;
    if (!frame.asked) ask();
  };
}

// Says that the picture is still being computed, or its text is still to come.
export function showBusy(frame) {
  const isSaid = frame.said === frame.text.textContent;
  frame.picture.ariaBusy = String(Boolean(frame.waiting || frame.steps || frame.asked || !isSaid));
}

// --- Pictures

// A part of the picture under a title; several stand side by side where there is room.
export function panel(frame, title, ...children) {
  frame.picture.classList.add("explorable-panels");
  const heading = element("div", { className: "explorable-title" }, title);
  const node = element("div", { className: "explorable-panel" }, heading, ...children);
  frame.picture.append(node);
  return node;
}

// Draws pixels between 0 and 1, channels first; one channel is grey.
export function drawImage(canvas, pixels, [channels, height, width]) {
  const image = new ImageData(width, height);
  const plane = height * width;
  for (let place = 0; place < plane; place++) {
    for (let colour = 0; colour < 3; colour++) {
      const value = pixels[place + (channels === 3 ? colour * plane : 0)];
      image.data[4 * place + colour] = 255 * value; // clamped by its type
    }
    image.data[4 * place + 3] = 255;
  }
  putImage(canvas, image);
}

export function putImage(canvas, image) {
  Object.assign(canvas, { width: image.width, height: image.height });
  canvas.getContext("2d").putImageData(image, 0, 0);
}
