// The noise of every neuron, and the network's answers with a multiple of it.

import { accuracySteps, accuracyView, missingSteps } from "./accuracy.js";
import { inBackground } from "./background.js";
import { ticksAt } from "./charts.js";
import {
  explorable,
  follow,
  longest,
  panel,
  reserve,
  say,
  seedButton,
  slider,
} from "./controls.js";
import { decodeTensor, forward, loadNetwork, randomGenerator, sampleSteps } from "./network.js";
import { networksChoice, withChosenNetworks } from "./network_sets.js";
import { countedAnswers, drawsView, imageChoice, longestCounts, readPictures } from "./pictures.js";
import { addTileScale, drawTiles, tileCanvas } from "./tiles.js";
import { percentage, shortNumber } from "./words.js";

// --- What is computed

// First the picked image, then the accuracy at this multiple, then those of the other multiples,
// which are kept for as long as the seed is the same.
function* noiseSteps(state, explorer, show) {
  const { network, images, labels, accuracies } = explorer;
  forgetOtherSeeds(explorer, state.seed);
  const options = [state.num_samples, randomGenerator(state.seed + 1), { sigma: state.scale }];
  const samples = yield* sampleSteps(network, images[state.image], ...options);
  const showNow = () => show({ samples, truth: labels[state.image], accuracies });
  showNow();
  yield* missingSteps(accuracies, [state.scale, ...explorer.scales], (sigma) => {
    // One draw for each image; the same random numbers at every multiple.
    const random = randomGenerator(state.seed);
    return accuracySteps(explorer, (image) => forward(network, image, random, { sigma }).logits);
  }, showNow);
}

function forgetOtherSeeds(explorer, seed) {
  if (explorer.seed !== seed) explorer.accuracies.clear();
  explorer.seed = seed;
}

function readSigmaExplorer(model) {
  return {
    ...readPictures(model),
    network: loadNetwork(model.get("network"), model.get("blobs")),
    scales: model.get("scales"),
    accuracies: new Map(),
  };
}

const noiseInBackground = inBackground({
  traits: ["network", "scales", "pictures", "labels", "classes", "blobs"],
  read: readSigmaExplorer,
  steps: noiseSteps,
});

// --- What is said

function multiple(scale) {
  if (scale === 0) return "Without noise";
  if (scale === 1) return "With its own noise";
  return `With ${shortNumber(scale)} times its noise`;
}

function noiseSentence(state, { samples, truth, accuracies }, explorer) {
  const answers = countedAnswers(samples, explorer.classes);
  return toldSentence(state, answers, truth, accuracies, explorer);
}

function toldSentence(state, answers, truth, accuracies, { images, classes }) {
  const share = accuracies.get(state.scale);
  const right = `${percentage(share ?? 0)} of ${images.length} images are right; `;
  const opening = `${multiple(state.scale)} ${share === undefined ? "" : right}`;
  return `${opening}the answer is ${answers}. True class: ${classes[truth]}.`;
}

function longestNoiseSentences(count, explorer) {
  const { classes, scales } = explorer;
  const truth = classes.indexOf(longest(classes));
  const answers = longestCounts(count, classes);
  const accuracies = new Map(scales.map((scale) => [scale, 0.999]));
  return scales.map((scale) => toldSentence({ scale }, answers, truth, accuracies, explorer));
}

// --- What is drawn

function noiseLayers({ layers }, blobs) {
  return layers
    .filter(({ kind }) => kind === "gaussian noise")
    .map(({ sigma }) => ({ shape: sigma.shape, sigma: decodeTensor(sigma, blobs).map(Math.abs) }));
}

// The scale is that of all layers, and the same at every multiple: it goes to their largest sigma.
function noiseView(frame, { shape, sigma }, number, most) {
  const canvas = tileCanvas();
  const heading = panel(frame, "", canvas).firstChild;
  const [low, high] = [Math.min, Math.max].map((of) => sigma.reduce((a, b) => of(a, b)));
  const neurons = shape.length === 1 ? `${shape[0]} neurons` : `${shape[0]} feature maps`;
  return (scale) => {
    const range = `σ ${shortNumber(scale * low)} to ${shortNumber(scale * high)}`;
    heading.textContent = `Noise ${number}: ${neurons}, ${range}`;
    canvas.ariaLabel = `The noise of each of the ${neurons}: ${range}`;
    drawTiles(canvas, Array.from(sigma, (value) => most && (scale * value) / most), shape);
  };
}

function scaleView(frame, { scales, images }) {
  const ends = [...new Set([0, 1, scales.at(-1)])];
  const ticks = ticksAt(ends.map(Math.sqrt), timesOf);
  // Roots give the small multiples room.
  const x = { label: "multiple of its noise", low: 0, high: Math.sqrt(scales.at(-1)), ticks };
  const draw = accuracyView(frame, { x, nameOf: (root) => `${timesOf(root)} times`, isHalf: true });
  return (scale, accuracies) => {
    const points = scales
      .filter((other) => accuracies.has(other))
      .map((other) => [Math.sqrt(other), accuracies.get(other)]);
    draw(`Accuracy on ${images.length} images`, points, Math.sqrt(scale));
  };
}

function timesOf(root) {
  return shortNumber(root * root);
}

// --- Putting it together

function renderSigma({ model, el }) {
  const frame = explorable(model, el, { label: "Learned noise" });
  const explorer = { ...readPictures(model), scales: model.get("scales") };
  const layers = noiseLayers(model.get("network"), model.get("blobs"));
  const most = layers.reduce((far, { sigma }) => sigma.reduce((a, b) => Math.max(a, b), far), 0);
  const maps = layers.map((layer, i) => noiseView(frame, layer, i + 1, most));
  addTileScale(frame, "σ 0", `${shortNumber(most)} or more`);
  const drawAccuracy = scaleView(frame, explorer);
  const drawAnswer = drawsView(frame, explorer.classes);
  networksChoice(frame);
  imageChoice(frame, explorer, model.get("num_choices"));
  const { scales } = explorer;
  const format = (scale) => `× ${shortNumber(scale)}`;
  slider(frame, { name: "scale", label: "noise", values: scales, format });
  seedButton(frame, "New noise");
  reserve(frame, longestNoiseSentences(model.get("num_samples"), explorer));

  const ask = noiseInBackground(frame);
  let known = new Map(); // the accuracies of the newest result
  follow(frame, ["scale", "image", "seed", "num_samples"], (state) => {
    for (const map of maps) map(state.scale);
    drawAccuracy(state.scale, known);
    ask(state, (result) => {
      known = result.accuracies;
      drawAnswer(result);
      drawAccuracy(state.scale, known);
      say(frame, noiseSentence(state, result, explorer));
    });
  });
  return frame.close;
}

function render(context) {
  return withChosenNetworks(context, renderSigma);
}

export default { render };
