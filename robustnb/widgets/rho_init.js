// The weight draws of Bayesian networks, one for each rho_init, and the average of their answers.

import { accuracyView } from "./accuracy.js";
import { inBackground } from "./background.js";
import { drawBars, drawChart, SHARES, svgPanel, ticksAt } from "./charts.js";
import {
  button,
  explorable,
  follow,
  longest,
  offer,
  reserve,
  say,
  seedButton,
  slider,
} from "./controls.js";
import { largestIndex, randomGenerator, sampleSteps, softmax } from "./network.js";
import { networksChoice, withChosenNetworks } from "./network_sets.js";
import { imageChoice, leadingAnswers, readNetworks, readPictures } from "./pictures.js";
import { percentage } from "./words.js";

// --- What is computed

// Shows the class probabilities of every draw.
function* drawSteps(state, { networks, images }, show) {
  const { rho_init: rho, num_samples: count, image, seed } = state;
  const { network } = networks.find(({ rho_init: other }) => other === rho);
  const samples = yield* sampleSteps(network, images[image], count, randomGenerator(seed));
  show(samples.map(softmax));
}

const drawInBackground = inBackground({
  traits: ["networks", "pictures", "labels", "classes", "blobs"],
  read: (model) => ({ ...readPictures(model), networks: readNetworks(model) }),
  steps: drawSteps,
});

// The average after one draw, after two, and so on.
function runningMeans(draws) {
  const sum = new Float64Array(draws[0].length);
  return draws.map((draw, i) => {
    draw.forEach((probability, label) => {
      sum[label] += probability;
    });
    return Array.from(sum, (total) => total / (i + 1));
  });
}

function accuracyAt({ rho_init: rho, num_samples: count }, { networks, counts }) {
  const { accuracies } = networks.find(({ rho_init: other }) => other === rho);
  return accuracies[counts.indexOf(count)];
}

// --- What is said

function signed(value) {
  return String(value).replace("-", "−");
}

function plural(count) {
  return count === 1 ? "1 draw" : `${count} draws`;
}

function rhoSentence(state, { draws, means, truth }, explorer) {
  const { classes, images } = explorer;
  const mean = means.at(-1);
  const top = largestIndex(mean);
  const share = percentage(accuracyAt(state, explorer));
  const single = draws.length > 1 ? `, single draws: ${leadingAnswers(draws, classes)}` : "";
  return (
    `At rho_init ${signed(state.rho_init)} the mean of ${plural(draws.length)} says ` +
    `${classes[top]} (${percentage(mean[top])})${single}. True class: ${classes[truth]}. ` +
    `Such means are right on ${share} of ${images.length} images.`
  );
}

// As long as the sentence can become: the answers differ, and so may all draws.
function longestRhoSentence(explorer) {
  const { classes, networks, counts } = explorer;
  const draws = Array.from({ length: counts.at(-1) }, (_, i) =>
    classes.map((_, label) => Number(label === i % classes.length)));
  const rhos = networks.map(({ rho_init: rho }) => rho);
  const rho = rhos.find((each) => String(each) === longest(rhos.map(String)));
  const state = { rho_init: rho, num_samples: counts.at(-1) };
  const truth = classes.indexOf(longest(classes));
  return rhoSentence(state, { draws, means: [draws[truth % draws.length]], truth }, explorer);
}

// --- What is drawn: the first `number` of the draws

function newestDrawsView(frame, { classes }) {
  const { svg, heading } = svgPanel(frame);
  return ({ draws, means, truth }, number) => {
    const isPlaying = number < draws.length;
    heading.textContent = isPlaying
      ? `Draw ${number} of ${draws.length}: outline`
      : "Bars: mean; dots: single draws";
    drawBars(svg, means[number - 1], {
      labels: classes,
      truth,
      dots: draws.slice(0, number),
      outline: isPlaying ? draws[number - 1] : null,
      description: `Single draws: ${leadingAnswers(draws, classes)}.`,
    });
  };
}

// Each draw's probability of the true class, and how their average settles.
function averageView(frame, { classes }) {
  const { svg, heading } = svgPanel(frame);
  return ({ draws, means, truth }, number) => {
    heading.textContent = `Probability of ${classes[truth]}: draws and running mean`;
    const points = (list) => list.slice(0, number).map((each, i) => [i + 1, each[truth]]);
    const count = draws.length;
    drawChart(svg, {
      x: { label: "draws", low: 0, high: count, ticks: wholeTicks(count) },
      y: SHARES,
      series: [
        { points: points(draws), draw: "dots" },
        { points: points(means), draw: "line", isNew: true },
      ],
      description: `The mean of ${plural(count)} gives it ${percentage(means.at(-1)[truth])}.`,
    });
  };
}

function wholeTicks(count) {
  return ticksAt(count > 3 ? [0, Math.round(count / 2), count] : [0, count]);
}

// The accuracy of all networks with this number of draws, and the one chosen among them.
function rhoView(frame, explorer) {
  const { networks, images } = explorer;
  const rhos = networks.map(({ rho_init: rho }) => rho);
  const low = 0.1 * Math.floor(9.99 * Math.min(...networks.flatMap((each) => each.accuracies)));
  const nameOf = (place) => signed(rhos[place]);
  // Evenly spaced, since most of them lie close together.
  const ticks = ticksAt([...rhos.keys()], nameOf);
  const draw = accuracyView(frame, {
    x: { label: "rho_init", low: -0.5, high: rhos.length - 0.5, ticks },
    y: { low, high: 1, ticks: ticksAt([low, (1 + low) / 2, 1], percentage) },
    nameOf,
    hasDots: true,
  });
  return (state) => {
    const shares = rhos.map((rho) => accuracyAt({ ...state, rho_init: rho }, explorer));
    const title = `Accuracy of ${plural(state.num_samples)}, ${images.length} images`;
    draw(title, [...shares.entries()], rhos.indexOf(state.rho_init));
  };
}

// --- Watching the draws come one by one

function prefersReducedMotion() {
  return matchMedia("(prefers-reduced-motion: reduce)").matches;
}

const SHORTEST = 40; // milliseconds for a draw
const LONGEST = 250;
const WHOLE = 5000;

// Calls show(1), show(2), ... up to `count`; a second press, or a change, goes to the end at once.
function drawPlayer(frame, show) {
  const label = prefersReducedMotion() ? "Next draw" : "Watch the draws";
  const node = button(frame, { name: "watch", label, press });
  let [timer, number, count] = [0, 0, 0];

  function step() {
    number += 1;
    show(number);
    if (number >= count) stop();
  }

  function stop() {
    clearInterval(timer);
    [timer, number] = [0, 0];
    node.textContent = label;
  }

  function press() {
    if (prefersReducedMotion()) return step();
    if (timer) return finish();
    node.textContent = "Stop";
    timer = setInterval(step, Math.min(LONGEST, Math.max(SHORTEST, WHOLE / count)));
    return step();
  }

  function finish() {
    stop();
    show(count);
  }

  frame.endings.push(stop);
  return (newCount) => {
    count = newCount;
    offer(node, count > 1);
    finish();
  };
}

// --- Putting it together

function readRhoExplorer(model) {
  const accuracies = model.get("accuracies");
  return {
    ...readPictures(model),
    counts: model.get("sample_choices"),
    networks: model.get("networks").map((one, i) => ({ ...one, accuracies: accuracies[i] })),
  };
}

function addRhoControls(frame, explorer) {
  const { networks, counts } = explorer;
  const values = networks.map(({ rho_init: rho }) => rho);
  networksChoice(frame);
  imageChoice(frame, explorer, frame.model.get("num_choices"));
  if (values.length > 1) {
    slider(frame, { name: "rho_init", label: "rho_init", values, format: signed });
  }
  slider(frame, { name: "num_samples", label: "draws", values: counts });
  seedButton(frame, "New draws");
}

function renderRho({ model, el }) {
  const frame = explorable(model, el, { label: "Draws of Bayesian networks" });
  const explorer = readRhoExplorer(model);
  const drawDraws = newestDrawsView(frame, explorer);
  const drawAverage = averageView(frame, explorer);
  const drawAccuracy = rhoView(frame, explorer);
  let result = null;
  const setPlayer = drawPlayer(frame, (number) => {
    drawDraws(result, number);
    drawAverage(result, number);
  });
  addRhoControls(frame, explorer);
  reserve(frame, [longestRhoSentence(explorer)]);

  function show(state, draws) {
    result = { draws, means: runningMeans(draws), truth: explorer.labels[state.image] };
    setPlayer(draws.length);
    drawAccuracy(state);
    say(frame, rhoSentence(state, result, explorer));
  }

  const draw = drawInBackground(frame);
  const names = ["rho_init", "num_samples", "image", "seed"];
  follow(frame, names, (state) => draw(state, (draws) => show(state, draws)));
  return frame.close;
}

function render(context) {
  return withChosenNetworks(context, renderRho);
}

export default { render };
