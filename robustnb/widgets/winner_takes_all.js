// Blocks of units that compete: who wins in this draw, and what the network says over many.

import {
  choice,
  explorable,
  follow,
  inSlices,
  longest,
  offer,
  panel,
  reserve,
  say,
  seedButton,
  slider,
  turnOff,
} from "./controls.js";
import { blockMembers, product, randomGenerator, sampleSteps } from "./network.js";
import {
  countedAnswers,
  drawsView,
  imageChoice,
  longestCounts,
  readNetworks,
  readPictures,
} from "./pictures.js";
import { addTileScale, drawTiles, tileCanvas } from "./tiles.js";
import { percentage, shortNumber } from "./words.js";

// --- What is computed

// One pass, with the mask of each competition: what comes out over what went in.
function* watchedPass({ description: { layers }, network }, image, random, scale) {
  const masks = [];
  let values = image;
  for (let i = 0; i < layers.length; i++) {
    const { output } = network.layers[i].prepare(values, scale)(random);
    if (layers[i].kind === "winner takes all") {
      masks.push(output.map((value, place) => (values[place] === 0 ? 0 : value / values[place])));
    }
    values = output;
    yield;
  }
  return { masks, logits: values };
}

function* winnerSteps(state, { networks, images, labels }, show) {
  const one = networks.find(({ units }) => units === state.units);
  const image = images[state.image];
  const scale = { mode: state.mode, temperature: state.temperature };
  const random = randomGenerator(state.seed);
  const { masks, logits } = yield* watchedPass(one, image, random, scale);
  const count = isDrawn(state.mode) ? state.num_samples - 1 : 0;
  const others = yield* sampleSteps(one.network, image, count, random, scale);
  const samples = [logits, ...others]; // the pass whose winners are lit is the first of the draws
  show({ masks, samples, one, truth: labels[state.image] });
}

function isDrawn(mode) {
  return mode === "sample" || mode === "relaxed";
}

// The mean over blocks of the largest part that one unit has of the mask.
function winnersPart(masks, { competitions, units }) {
  let [sum, count] = [0, 0];
  masks.forEach((mask, number) => {
    const positions = product(competitions[number].shape.slice(1));
    for (const members of blockMembers(mask.length, units, positions)) {
      sum += Math.max(...members.map((place) => mask[place]));
      count += 1;
    }
  });
  return sum / count;
}

// --- What is said

function openingOf({ mode, temperature }, { masks, one }) {
  const blocks = `blocks of ${one.units}`;
  if (mode === "argmax") return `In ${blocks} the largest always wins`;
  if (mode === "sample") return `In ${blocks} one unit each is drawn`;
  const part = percentage(winnersPart(masks, one));
  if (mode === "mean") return `In ${blocks} all take part; the strongest have ${part} on average`;
  const heat = shortNumber(temperature);
  return `In ${blocks} at temperature ${heat}, winners have ${part} of the mask on average`;
}

function winnerSentence(state, result, { classes }) {
  const opening = openingOf(state, result);
  const answers = countedAnswers(result.samples, classes);
  return told(opening, answers, classes[result.truth]);
}

function told(opening, answers, truth) {
  return `${opening}. The answer is ${answers}. True class: ${truth}.`;
}

// The mask of a competition that one unit of two wins by 99%: any share has as many letters.
function longestWinnerSentences(count, { classes, networks }, temperatures) {
  const answers = longestCounts(count, classes);
  const states = ["mean", ...temperatures].map((heat) =>
    heat === "mean" ? { mode: heat } : { mode: "relaxed", temperature: heat });
  return states.flatMap((state) => networks.map((one) => {
    const masks = one.competitions.map(({ shape }) => Array(product(shape)).fill(0.99));
    return told(openingOf(state, { masks, one }), answers, longest(classes));
  }));
}

// --- What is drawn

// The layers that compete: one panel for each.
function competitionsOf({ description, network }) {
  return network.layers.filter((_, i) => description.layers[i].kind === "winner takes all");
}

function winnersView(frame, index) {
  const canvas = tileCanvas();
  const node = panel(frame, "", canvas);
  return ({ masks, one }) => {
    node.hidden = index >= masks.length;
    if (node.hidden) return;
    const { shape } = one.competitions[index];
    const blocks = shape[0] / one.units;
    const where = shape.length > 1 ? ` at ${product(shape.slice(1))} positions` : "";
    node.firstChild.textContent = `Layer ${index + 1}: ${blocks} blocks of ${one.units}${where}`;
    canvas.ariaLabel = `The winners of ${blocks} blocks of ${one.units} units${where}.`;
    drawTiles(canvas, Array.from(masks[index]), shape, one.units);
  };
}

// --- Putting it together

function readWinnerExplorer(model) {
  const networks = readNetworks(model).map((one) => ({
    ...one,
    competitions: competitionsOf(one),
  }));
  return { ...readPictures(model), networks };
}

function addWinnerControls(frame, explorer) {
  const { model } = frame;
  imageChoice(frame, explorer, explorer.images.length);
  const units = explorer.networks.map((one) => one.units);
  if (units.length > 1) choice(frame, { name: "units", label: "units in a block", options: units });
  choice(frame, {
    name: "mode",
    label: "mask",
    options: [
      { value: "sample", label: "drawn" },
      "relaxed",
      "mean",
      { value: "argmax", label: "largest" },
    ],
  });
  const values = model.get("temperatures");
  const heat = { name: "temperature", label: "temperature", values, format: shortNumber };
  const temperature = slider(frame, heat);
  const seed = seedButton(frame, "Draw again");
  return () => {
    const mode = model.get("mode");
    turnOff(temperature, mode === "relaxed" ? "" : "Only the relaxed mask has a temperature.");
    offer(seed, isDrawn(mode));
  };
}

function render({ model, el }) {
  const frame = explorable(model, el, { label: "Winner takes all" });
  const explorer = readWinnerExplorer(model);
  const most = Math.max(...explorer.networks.map(({ competitions }) => competitions.length));
  const views = Array.from({ length: most }, (_, index) => winnersView(frame, index));
  addTileScale(frame, "silent", "wins all of its block");
  views.push(drawsView(frame, explorer.classes));
  const showControls = addWinnerControls(frame, explorer);
  const [count, temperatures] = [model.get("num_samples"), model.get("temperatures")];
  reserve(frame, longestWinnerSentences(count, explorer, temperatures));
  const names = ["units", "image", "mode", "temperature", "seed", "num_samples"];
  follow(frame, names, (state) => {
    showControls();
    inSlices(frame, winnerSteps(state, explorer, (result) => {
      for (const view of views) view(result);
      say(frame, winnerSentence(state, result, explorer));
    }));
  });
  return frame.close;
}

export default { render };
