// Stands in for Jupyter where no kernel runs: it gives a widget's module the model it expects, and
// keeps what the reader has set in the page's address.

// --- The model

// The part of anywidget's model that modules use. The state lives in the page and nowhere else.
function staticModel(state) {
  let listeners = [];
  const restrictions = {};

  function emit(event, ...details) {
    for (const listener of listeners) {
      if (listener.event === event) listener.callback(...details);
    }
  }

  const accepted = (name, value) => (restrictions[name] ? restrictions[name](value) : value);

  const model = {
    controls: new Map(), // the names of those that can be hidden, and what they are called

    get: (name) => state[name],

    // set(name, value) or set({ name: value, ... })
    set(names, value) {
      const changes = typeof names === "object" ? { ...names } : { [names]: value };
      for (const name of Object.keys(changes)) changes[name] = accepted(name, changes[name]);
      const changed = Object.keys(changes).filter((name) => state[name] !== changes[name]);
      Object.assign(state, changes);
      for (const name of changed) emit(`change:${name}`, model, state[name]);
      if (changed.length > 0) emit("change", model);
    },

    // With a kernel, traits refuse what they cannot be; here a control says what comes nearest.
    restrict(name, nearest) {
      restrictions[name] = nearest;
      state[name] = nearest(state[name]);
    },

    on(events, callback) {
      const added = events.split(" ").map((event) => ({ event, callback }));
      listeners = [...listeners, ...added];
    },

    once(event, callback) {
      const first = (...details) => {
        model.off(event, first);
        callback(...details);
      };
      model.on(event, first);
    },

    // Without an event or a callback, all of them are meant.
    off(event, callback) {
      listeners = listeners.filter(
        (listener) =>
          (event && listener.event !== event) || (callback && listener.callback !== callback),
      );
    },

    save_changes() {},
    send() {},
  };
  return model;
}

// --- The address: #name.key=value&name.key=value, beside the keys of others and a plain anchor

function addressEntries() {
  return location.hash.slice(1).split("&").filter(Boolean);
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // a stray %
  }
}

function entryOwner(entry) {
  const [key] = entry.split("=", 1);
  return entry.includes("=") ? decoded(key).split(".", 1)[0] : null;
}

// What the address says of the widget with this name, as { key: text }.
function readAddress(name) {
  const own = addressEntries().filter((entry) => entryOwner(entry) === name);
  return Object.fromEntries(
    own.map((entry) => {
      const cut = entry.indexOf("=");
      return [decoded(entry.slice(0, cut)).slice(name.length + 1), decoded(entry.slice(cut + 1))];
    }),
  );
}

// A key stands for a trait, or for one place in it; `values` say how its positions are written.
function traitValue(text, place, model) {
  const { trait, index, values } = place;
  const whole = model.get(trait);
  const present = valueAt(place, model);
  const value = values ? positionOf(text, values) : likeTheOld(text, present);
  if (values && value < 0) return whole;
  return index === undefined ? value : whole.map((old, place) => (place === index ? value : old));
}

// The position of a value as it is written, or of the nearest number: 0.2 finds 0.20. Else -1.
function positionOf(text, values) {
  if (values.includes(text)) return values.indexOf(text);
  const distances = values.map((value) => Math.abs(Number(value) - Number(text)));
  if (text.trim() === "" || distances.some(Number.isNaN)) return -1;
  return distances.indexOf(Math.min(...distances));
}

function likeTheOld(text, present) {
  if (typeof present === "boolean") return text === "true";
  if (typeof present !== "number") return text;
  const number = Number(text);
  return text.trim() !== "" && Number.isFinite(number) ? number : present;
}

function writtenValue(place, model) {
  const { values } = place;
  const value = valueAt(place, model);
  return values ? values[value] : String(value);
}

function applyAddress(name, address, model) {
  const given = readAddress(name);
  if ("hide" in given) model.set("hidden", given.hide.split(",").filter(Boolean));
  for (const [key, place] of address) {
    if (key in given) model.set(place.trait, traitValue(given[key], place, model));
  }
  return Object.keys(given).length > 0;
}

// What the address says of a rendered widget that has no such setting, or not with this value.
function misunderstood(name, address, model) {
  const places = new Map(address);
  return Object.entries(readAddress(name)).flatMap(([key, text]) => {
    if (key === "hide") return unknownControls(text, model);
    if (key === "") return [`${name} needs a dot and a setting: ${[...places.keys()].join(", ")}`];
    if (!places.has(key)) return [`${key} is no setting here: ${[...places.keys()].join(", ")} are`];
    return wrongValue(key, text, places.get(key), model);
  });
}

// What the address says of explorables that the page does not have.
function strangers() {
  const names = [...document.querySelectorAll(".static-widget[data-name]")].map(uniqueName);
  const owners = addressEntries().filter((entry) => /\..*=/.test(entry)).map(entryOwner);
  const unknown = [...new Set(owners)].filter((owner) => !names.includes(owner));
  return unknown.map((owner) => `${owner} is no explorable of this page: ${names.join(", ")} are`);
}

function unknownControls(text, { controls }) {
  const known = [...controls.keys()];
  const unknown = text.split(",").filter((name) => name && !known.includes(name));
  return unknown.map((name) => `${name} cannot be hidden: ${known.join(", ")} can`);
}

function wrongValue(key, text, place, model) {
  const kept = writtenValue(place, model);
  if (kept === text) return [];
  const isNumber = typeof valueAt(place, model) === "number" && !Number.isNaN(Number(kept));
  if (!isNumber || text.trim() === "" || Number.isNaN(Number(text))) {
    return [`${key} cannot be ${cutShort(text)}`];
  }
  return Number(text) === Number(kept) ? [] : [`${key} ${text} became ${kept}`];
}

const LETTERS_SAID = 20;

function cutShort(text) {
  return text.length > LETTERS_SAID ? `${text.slice(0, LETTERS_SAID)}…` : text;
}

function valueAt({ trait, index }, model) {
  const whole = model.get(trait);
  return index === undefined ? whole : whole[index];
}

function ownEntries(name, address, model) {
  const state = address.map(([key, place]) => [key, writtenValue(place, model)]);
  const { hide } = readAddress(name);
  if (hide !== undefined) state.push(["hide", hide]);
  const said = state.filter(([, text]) => text !== "");
  return said.map(([key, text]) => `${encodeURIComponent(`${name}.${key}`)}=${readable(text)}`);
}

// Only what would be misread is encoded, so that people can read and edit an address.
function readable(text) {
  return encodeURIComponent(text).replaceAll("%2C", ",");
}

function writeAddress(name, address, model) {
  const others = addressEntries().filter((entry) => entryOwner(entry) !== name);
  const hash = [...others, ...ownEntries(name, address, model)].join("&");
  try {
    history.replaceState(history.state, "", `#${hash}`);
  } catch {
    // Some viewers lock the address; the figure works without it.
  }
}

const PAUSE = 200; // milliseconds: browsers refuse an address that changes a hundred times a second

function keepAddress(name, address, model, el) {
  let timer = 0;
  model.link = () => {
    const hash = ownEntries(name, address, model).join("&");
    return `${location.href.split("#", 1)[0]}#${hash}`;
  };
  model.on("change", () => {
    clearTimeout(timer);
    timer = setTimeout(() => writeAddress(name, address, model), PAUSE);
  });
  addEventListener("hashchange", () => {
    if (applyAddress(name, address, model)) el.scrollIntoView({ block: "nearest" });
    sayMisunderstood(name, address, model, el);
  });
}

// --- The page for teachers, which shows another page in a frame

function tellFrame(name, address, model) {
  if (parent === globalThis || address.length === 0) return;
  const tell = () => {
    const entries = ownEntries(name, address, model);
    const hidden = [...model.get("hidden")];
    const robustnb = { name, entries, controls: [...model.controls], hidden };
    parent.postMessage({ robustnb }, "*"); // pages that are files have no origin to name
  };
  model.on("change", tell);
  tell();
}

// Says which explorables there are, in the order of the page, once the last of them is there.
function tellFrameOfAll() {
  const named = [...document.querySelectorAll(".static-widget[data-name]")];
  if (parent === globalThis || named.some(({ dataset }) => !("mounted" in dataset))) return;
  parent.postMessage({ robustnbNames: named.map(uniqueName) }, "*");
}

// Two widgets of one name are told apart by their order on the page.
function uniqueName(widget) {
  const { name = "" } = widget.dataset;
  const namesakes = [...document.querySelectorAll(".static-widget")].filter(
    (other) => (other.dataset.name ?? "") === name,
  );
  const place = namesakes.indexOf(widget);
  return place === 0 ? name : `${name}-${place + 1}`;
}

// --- Mounting

const modules = new Map();
const blobs = new Map();

function pageText(id) {
  return document.getElementById(id).textContent;
}

// Widgets of the same parts share one module. import() of a Blob works over file:// too; a worker
// takes a Blob there only if it is no module, which is why it gets the text without its export.
function joinedModule(ids) {
  const key = ids.join();
  if (!modules.has(key)) {
    const text = ids.map(pageText).join("\n");
    const script = scriptAddress(text.slice(0, text.lastIndexOf("export default")));
    modules.set(key, {
      module: import(scriptAddress(text)),
      newWorker: () => new Worker(script),
    });
  }
  return modules.get(key);
}

function scriptAddress(text) {
  return URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
}

// The texts of weights, or their bytes where these are packed; once for all widgets.
async function readBlobs(ids) {
  const read = async ([digest, id]) => {
    if (!blobs.has(id)) blobs.set(id, unpacked(pageText(id)));
    return [digest, await blobs.get(id)];
  };
  return Object.fromEntries(await Promise.all(Object.entries(ids).map(read)));
}

const PACKED = "gzip:"; // as static.py writes it

async function unpacked(text) {
  if (!text.startsWith(PACKED)) return text;
  const letters = atob(text.slice(PACKED.length));
  const bytes = Uint8Array.from(letters, (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// Renders into the element that holds a picture; should that fail, the picture there stays.
export async function mount(widget) {
  const el = widget.querySelector(":scope > div");
  const fallback = [...el.childNodes];
  try {
    await render(widget, el);
  } catch (error) {
    el.replaceChildren(...fallback);
    throw error;
  } finally {
    widget.dataset.mounted = "";
    tellFrameOfAll();
  }
}

function sayMisunderstood(name, address, model, el) {
  el.querySelector(":scope > .explorable-notice")?.remove();
  const isFirst = document.querySelector(".static-widget[data-name]")?.contains(el);
  const faults = [...(isFirst ? strangers() : []), ...misunderstood(name, address, model)];
  if (faults.length === 0) return;
  const line = document.createElement("p");
  const textContent = `In the address, ${faults.join("; ")}.`;
  el.append(Object.assign(line, { className: "explorable-notice", role: "status", textContent }));
}

async function render(widget, el) {
  const script = widget.querySelector(":scope > script[type='application/json']");
  const { state, sources, blobs: ids, address } = JSON.parse(script.textContent);
  const joined = joinedModule(sources);
  const { default: module } = await joined.module;
  const name = uniqueName(widget);
  const model = staticModel({ ...state, name, blobs: await readBlobs(ids) });
  model.newWorker = joined.newWorker;
  const isLinked = applyAddress(name, address, model);
  keepAddress(name, address, model, el);
  el.replaceChildren();
  await module.render({ model, el });
  sayMisunderstood(name, address, model, el);
  tellFrame(name, address, model);
  if (isLinked && entryOwner(addressEntries()[0]) === name && scrollY === 0) el.scrollIntoView();
}
