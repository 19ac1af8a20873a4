// Two small networks train in the page, side by side, on points in the plane.

import { drawChart, SHARES, svgPanel, ticksAt } from "./charts.js";
import { BLUE, ORANGE } from "./colours.js";
import {
  button,
  choice,
  element,
  explorable,
  follow,
  inSlices,
  listen,
  say,
  seedButton,
  slider,
  traitBinding,
} from "./controls.js";
import { HALF, pixelCentres, withoutLast, withPoint } from "./plane.js";
import { measureSteps, noiseLevel, shadeSteps, startSession, trainTo } from "./session.js";
import { percentage, shortNumber } from "./words.js";

const MOST_STEPS = 600;
const SIDE = 40; // pixels of the shading, which the canvas smooths
const CANVAS = 400;
const COLOURS = [ORANGE, BLUE]; // of the classes
const TRAINING = 5; // milliseconds of each frame, and the rest of the work after it
const SHADING = 8;

const SETS = [
  { value: "moons", label: "two moons" },
  { value: "circles", label: "two circles" },
  { value: "XOR", label: "XOR" },
  { value: "blobs", label: "two blobs" },
  { value: "own", label: "your own" },
];
const BALLS = [{ value: "linf", label: "squares (L∞)" }, { value: "l2", label: "discs (L2)" }];
const SPEEDS = [
  { value: 1, label: "slow" }, { value: 4, label: "medium" }, { value: 16, label: "fast" },
];

const LABELS = {
  "FGSM training": "adversarial (FGSM)",
  "PGD training": "adversarial (PGD)",
};

function labelOf(defence) {
  return LABELS[defence] ?? defence;
}

// --- What is drawn

function css([red, green, blue], alpha = 1) {
  return `rgb(${red} ${green} ${blue} / ${alpha})`;
}

// The shading is the stronger, the surer the network is; the boundary is where it vanishes.
function shadeImage(shade) {
  const image = new ImageData(SIDE, SIDE);
  shade.forEach((probability, i) => {
    const sureness = Math.abs(2 * probability - 1);
    image.data.set([...COLOURS[probability > 0.5 ? 1 : 0], 150 * sureness], 4 * i);
  });
  return image;
}

function inCanvas(x, y) {
  const scale = CANVAS / (2 * HALF);
  return [(x + HALF) * scale, (HALF - y) * scale];
}

function drawBall(context, x, y, radius, norm) {
  context.beginPath();
  if (norm === "l2") context.arc(x, y, radius, 0, 2 * Math.PI);
  else context.rect(x - radius, y - radius, 2 * radius, 2 * radius);
}

// A disc for class 0, a diamond for class 1.
function drawMark(context, x, y, label, size) {
  context.beginPath();
  if (label === 0) context.arc(x, y, size, 0, 2 * Math.PI);
  else {
    const far = 1.3 * size;
    context.moveTo(x, y - far);
    context.lineTo(x + far, y);
    context.lineTo(x, y + far);
    context.lineTo(x - far, y);
    context.closePath();
  }
}

// A ball in which the network is wrong somewhere is filled, and its edge thick.
function drawPoints(context, { points, labels }, measured, { eps, norm }) {
  const radius = (eps * CANVAS) / (2 * HALF);
  labels.forEach((label, i) => {
    const [x, y] = inCanvas(points[2 * i], points[2 * i + 1]);
    const broken = measured !== null && !measured.rightBalls[i];
    drawBall(context, x, y, radius, norm);
    context.fillStyle = css(COLOURS[label], broken ? 0.45 : 0);
    context.strokeStyle = css(COLOURS[label], broken ? 1 : 0.55);
    context.lineWidth = broken ? 3 : 1;
    context.fill();
    context.stroke();
  });
  labels.forEach((label, i) => {
    drawMark(context, ...inCanvas(points[2 * i], points[2 * i + 1]), label, 5);
    context.fillStyle = css(COLOURS[label]);
    context.strokeStyle = "white";
    context.lineWidth = 1.5;
    context.fill();
    context.stroke();
  });
}

function planeView(row) {
  const canvas = element("canvas", { role: "img", width: CANVAS, height: CANVAS });
  const heading = element("div", { className: "explorable-title" });
  row.append(element("div", {}, heading, canvas));
  const context = canvas.getContext("2d");
  const small = element("canvas", { width: SIDE, height: SIDE });
  let shown = null;

  // Until the new session has a shading, the old one stays.
  function draw(session, side, state) {
    if (side.shaded && side.shaded.shade !== shown) {
      shown = side.shaded.shade;
      small.getContext("2d").putImageData(shadeImage(shown), 0, 0);
    }
    context.clearRect(0, 0, CANVAS, CANVAS);
    if (shown) context.drawImage(small, 0, 0, CANVAS, CANVAS);
    drawPoints(context, session, side.measured, state);
    const title = headingOf(side);
    if (heading.textContent !== title) {
      heading.textContent = title; // in two lines, by its style
      canvas.ariaLabel = `The plane as the network sees it. ${title}`;
    }
  }

  return { canvas, draw };
}

function headingOf(side) {
  const level = noiseLevel(side);
  const name = labelOf(side.defence) + (level === null ? "" : `, mean σ ${level.toFixed(2)}`);
  if (!side.measured) return `${name}\n…`;
  const { clean, robust } = side.measured;
  return `${name}\npoints ${percentage(clean)}, balls ${percentage(robust)}`;
}

const STEPS_AXIS = {
  label: "steps", low: 0, high: MOST_STEPS, ticks: ticksAt([0, 200, 400, 600]),
};
const LOSS_AXIS = { low: 0, high: 1, ticks: ticksAt([0, 0.5, 1]) };

function chartView(frame, title, y, lines) {
  const { svg } = svgPanel(frame, title);
  return ({ sides }) => {
    const series = sides.flatMap(({ records }, side) =>
      lines.map(({ key, draw }) => ({
        points: records.filter((one) => one[key] !== null).map((one) => [one.step, one[key]]),
        draw,
        isNew: side === 1,
        size: 3,
      })));
    const ends = sides.map(({ defence, records }) => {
      const last = records.at(-1) ?? {};
      const values = lines.map(({ key, name }) => `${name} ${shortNumber(last[key] ?? 0)}`);
      return `${labelOf(defence)} ends at ${values.join(", ")}`;
    });
    const description = `${title}. ${ends.join("; ")}.`;
    drawChart(svg, { x: STEPS_AXIS, y, series, description, isHalf: true });
  };
}

// --- What is said

function sideSentence({ defence, measured, shaded }) {
  const shares = `${percentage(measured.clean)} of the points and ${percentage(measured.robust)}`;
  const unsure = `unsure on ${percentage(shaded.unsure)} of the plane`;
  return `${labelOf(defence)}: ${shares} of the balls right, ${unsure}`;
}

function trainingSentence({ step, sides, labels }) {
  if (labels.length === 0) return "There are no points yet: click into a picture.";
  const opening = step === 0 ? "Before training" : `After ${step} steps`;
  return `${opening}, ${sides.map(sideSentence).join("; ")}.`;
}

// --- Time

// Runs a generator up to this time, but one piece of it at least; says whether it has ended.
function spend(steps, until) {
  do {
    if (steps.next().done) return true;
  } while (performance.now() < until);
  return false;
}

// --- Points of the reader's own

function ownControls(frame, canvases) {
  const { get, set } = traitBinding(frame, "own");
  const pen = element("select", {}, new Option("orange disc"), new Option("blue diamond"));
  const [x, y] = ["x", "y"].map(() =>
    element("input", { type: "number", min: -HALF, max: HALF, step: 0.1, value: 0 }));
  const press = (label, act) => {
    const node = element("button", { type: "button" }, label);
    node.addEventListener("click", act);
    return node;
  };
  const add = (...place) => set(withPoint(get(), pen.selectedIndex, ...place));
  const row = element(
    "div",
    { className: "explorable-own" },
    element("span", {}, "Click into a picture, or:"),
    element("label", {}, element("span", {}, "class"), pen),
    element("label", {}, element("span", {}, "x"), x),
    element("label", {}, element("span", {}, "y"), y),
    press("Add point", () => add(Number(x.value), Number(y.value))),
    press("Remove last", () => set(withoutLast(get()))),
    press("Remove all", () => set("")),
  );
  const isOwn = () => frame.model.get("points") === "own";
  const show = () => {
    row.hidden = !isOwn();
    for (const canvas of canvases) canvas.style.cursor = isOwn() ? "crosshair" : "";
  };
  for (const canvas of canvases) {
    canvas.addEventListener("click", ({ offsetX, offsetY }) => {
      const place = (offset) => (2 * HALF * offset) / canvas.clientWidth - HALF;
      if (isOwn()) add(place(offsetX), -place(offsetY));
    });
  }
  frame.controls.insertBefore(row, frame.buttons);
  listen(frame, ["points"], show);
  show();
}

// --- Putting it together

const SETTING = ["left", "right", "points", "own", "norm", "eps", "seed", "settings"];

function render({ model, el }) {
  const frame = explorable(model, el, { label: "Two networks in training" });
  const row = element("div", { className: "explorable-planes" });
  frame.picture.append(row);
  const views = [planeView(row), planeView(row)];
  const charts = [
    chartView(frame, "Right: points (dots), balls (lines)", SHARES, [
      { key: "clean", name: "points", draw: "dots" },
      { key: "robust", name: "balls", draw: "line" },
    ]),
    chartView(frame, "Cross-entropy (grey: left network)", LOSS_AXIS, [
      { key: "loss", name: "loss", draw: "line" },
    ]),
  ];
  const centres = pixelCentres(SIDE);
  const run = { session: null, key: "", state: null, training: null, shading: null, frame: 0 };

  function draw() {
    views.forEach((view, i) => view.draw(run.session, run.session.sides[i], run.state));
  }

  function drawCharts() {
    for (const drawOne of charts) drawOne(run.session);
  }

  function begin(state) {
    const session = startSession([state.left, state.right], { ...state, ...state.settings });
    Object.assign(run, { session, state, training: null, shading: null });
    draw();
  }

  // What is seen follows from the settings and the number of steps alone.
  function* settle(session, step) {
    run.training = null;
    const { records } = session.sides[0];
    let drawn = 0;
    for (const piece of trainTo(session, step)) {
      if (records.length > drawn) drawCharts(); // the progress of a long training
      drawn = records.length;
      yield piece;
    }
    yield* measureSteps(session);
    for (const side of session.sides) {
      if (side.shaded?.step !== session.step) yield* shadeSteps(session, side, centres);
    }
    draw();
    drawCharts();
    say(frame, trainingSentence(session));
  }

  // Shades one network after the other while they train.
  function* shadeForever(session) {
    for (;;) {
      for (const side of session.sides) {
        yield* shadeSteps(session, side, centres);
        draw();
        yield;
      }
    }
  }

  // --- Playing: a few steps for each frame, and as much shading as there is time for

  function advance() {
    const { session } = run;
    const start = performance.now();
    run.training ??= trainTo(session, Math.min(MOST_STEPS, session.step + model.get("speed")));
    run.shading ??= shadeForever(session);
    const { length } = session.sides[0].records;
    if (spend(run.training, start + TRAINING)) {
      run.training = null;
      model.set("step", session.step);
    }
    if (session.sides[0].records.length > length) drawCharts();
    spend(run.shading, start + SHADING);
    if (session.step >= MOST_STEPS && !run.training) pause();
  }

  function tick() {
    if (!run.frame) return;
    run.frame = requestAnimationFrame(tick);
    if (!frame.steps) advance();
  }

  function play() {
    if (run.session.labels.length === 0) return;
    if (run.session.step >= MOST_STEPS) {
      begin(run.state);
      goTo(0);
    }
    run.frame = requestAnimationFrame(tick);
    playButton.textContent = "Pause";
    say(frame, "Training: above each plane stands what is right now. Pause for a sentence.");
  }

  function pause() {
    if (!run.frame) return;
    cancelAnimationFrame(run.frame);
    [run.frame, run.shading] = [0, null];
    playButton.textContent = "Play";
    const { session } = run;
    inSlices(frame, (function* finish() {
      yield* settle(session, session.step);
      goTo(session.step);
    })());
  }

  function goTo(step) {
    model.set("step", step);
    model.save_changes();
  }

  function jumpTo(step) {
    pause();
    goTo(step);
  }

  // --- Controls

  const defences = model.get("defences").map((value) => ({ value, label: labelOf(value) }));
  choice(frame, { name: "points", label: "points", options: SETS });
  choice(frame, { name: "left", label: "left network", options: defences });
  choice(frame, { name: "right", label: "right network", options: defences });
  choice(frame, { name: "norm", label: "balls", options: BALLS });
  slider(frame, { name: "eps", label: "radius ε", min: 0, max: 0.5, step: 0.05 });
  choice(frame, { name: "speed", label: "speed", options: SPEEDS });
  ownControls(frame, views.map(({ canvas }) => canvas));
  seedButton(frame, "New seed");
  const toggle = () => (run.frame ? pause() : play());
  const step = () => {
    if (run.session.labels.length > 0) jumpTo(Math.min(MOST_STEPS, run.session.step + 1));
  };
  const playButton = button(frame, { name: "play", label: "Play", press: toggle });
  const stepButton = button(frame, { name: "step", label: "Step", press: step });
  const resetButton = button(frame, { name: "reset", label: "Reset", press: () => jumpTo(0) });
  const player = element("div", { className: "explorable-buttons" });
  player.append(playButton, stepButton, resetButton); // beside what they move
  row.after(player);
  model.restrict?.("step", (value) => Math.max(0, Math.min(MOST_STEPS, Math.round(value))));

  follow(frame, [...SETTING, "step"], ({ step: wanted, ...state }) => {
    const key = JSON.stringify(state);
    const isSame = key === run.key;
    if (isSame && (run.frame || run.session.step === wanted)) return; // playing has set the step
    if (!isSame || wanted < run.session.step) {
      begin(state);
      run.key = key;
    }
    inSlices(frame, settle(run.session, wanted));
  });
  frame.endings.push(() => cancelAnimationFrame(run.frame));
  return frame.close;
}

export default { render };
