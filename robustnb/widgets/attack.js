// An attack on one network, and what all networks say to the picture.

import { distance, fgsmSteps, minimumNormSteps, pgdSteps } from "./attacks.js";
import { inBackground } from "./background.js";
import { drawBars, svgPanel } from "./charts.js";
import { colourBar, signedColour } from "./colours.js";
import {
  choice,
  drawImage,
  element,
  explorable,
  follow,
  kernelQuestions,
  longest,
  offer,
  panel,
  putImage,
  reserve,
  say,
  seedButton,
  slider,
  turnOff,
} from "./controls.js";
import { drawingPad, readPicture, writtenPicture } from "./drawing_pad.js";
import {
  isStochastic,
  largestIndex,
  meanProbabilities,
  randomGenerator,
  sampleSteps,
} from "./network.js";
import { networksChoice, withChosenNetworks } from "./network_sets.js";
import { imageChoice, readNetworks, readPictures } from "./pictures.js";
import { percentage, shortNumber } from "./words.js";

const MINIMUM = "minimum norm";
const PYTHONS = ["steps", "num_samples", "eot_samples"]; // what Python alone may change

// --- What is computed

function attackSteps(state, network, image, label) {
  const { eps, steps, eot_samples: eotSamples, seed } = state;
  const random = randomGenerator(2 * seed);
  if (state.attack === "FGSM") return fgsmSteps(network, image, label, { eps, random, eotSamples });
  if (state.attack === MINIMUM) return minimumNormSteps(network, image, label, { random });
  const options = { eps, alpha: eps / 4, steps, random, eotSamples };
  return pgdSteps(network, image, label, options);
}

// The class probabilities of one network: those of one pass, or the mean of many draws. The draws
// are others than the attack's, which must not know them.
function* answerSteps({ num_samples: count, seed }, network, image) {
  const draws = network.stochastic ? count : 1;
  const random = randomGenerator(2 * seed + 1);
  return meanProbabilities(yield* sampleSteps(network, image, draws, random));
}

function* resultSteps(state, explorer, show) {
  const { networks } = explorer;
  const { image, truth, isOwn } = yield* chosenSteps(state, explorer);
  const target = networks.find(({ name }) => name === state.target).network;
  const attacked = yield* attackSteps(state, target, image, truth);
  const answers = [];
  for (const { network } of networks) answers.push(yield* answerSteps(state, network, attacked));
  show({ image, attacked, answers, truth, isOwn });
}

// The image and its class: of the reader's own it is what the first network says.
function* chosenSteps(state, { networks, images, labels }) {
  const image = state.image === images.length ? readPicture(state.drawing) : null;
  if (!image) {
    const index = Math.min(state.image, images.length - 1);
    return { image: images[index], truth: labels[index], isOwn: false };
  }
  const answer = yield* answerSteps(state, networks[0].network, image);
  return { image, truth: largestIndex(answer), isOwn: true };
}

const attackInBackground = inBackground({
  traits: ["networks", "pictures", "labels", "classes", "blobs"],
  read: (model) => ({ ...readPictures(model), networks: readNetworks(model) }),
  steps: resultSteps,
});

// --- What is said

function networkPhrase(name) {
  return name.endsWith("network") ? name : `${name} network`;
}

function spoken(probabilities, classes) {
  const top = largestIndex(probabilities);
  return `${classes[top]} (${percentage(probabilities[top])})`;
}

function claim(name, probabilities, truth, classes, isChanged) {
  const still = isChanged && largestIndex(probabilities) === truth ? "still says" : "says";
  return `the ${networkPhrase(name)} ${still} ${spoken(probabilities, classes)}`;
}

function listed(phrases) {
  const last = phrases.length - 1;
  return last < 1 ? phrases[0] : `${phrases.slice(0, last).join(", ")} and ${phrases[last]}`;
}

function sentence(state, { image, attacked, answers, truth, isOwn }, { networks, classes }) {
  const size = distance(image, attacked);
  const rms = shortNumber(size / Math.sqrt(image.length));
  const opening = state.attack === MINIMUM
    ? `With the smallest perturbation found (root mean square ${rms})`
    : `At ε ${shortNumber(state.eps)}${state.eps === 0 ? ", where no pixel moves," : ""}`;
  const claims = networks.map(({ name }, i) => claim(name, answers[i], truth, classes, size > 0));
  const of = isOwn ? `The ${networkPhrase(networks[0].name)} reads your drawing as` : "True class:";
  return `${opening} ${listed(claims)}. ${of} ${classes[truth]}.`;
}

// As long as the sentences can become.
function longestSentences(explorer, values) {
  const { classes, networks } = explorer;
  const truth = classes.indexOf(longest(classes));
  const answers = networks.map(() => classes.map((_, label) => Number(label === truth)));
  const result = { image: [0], attacked: [0.0123], answers, truth, isOwn: false };
  return ["FGSM", MINIMUM].flatMap((attack) => values.flatMap((eps) =>
    [false, true].map((isOwn) => sentence({ attack, eps }, { ...result, isOwn }, explorer))));
}

// --- What is drawn

// Blue is brighter and orange darker.
function drawPerturbation(canvas, values, [channels, height, width], largest) {
  const image = new ImageData(width, height);
  const plane = height * width;
  for (let place = 0; place < plane; place++) {
    let mean = 0;
    for (let channel = 0; channel < channels; channel++) {
      mean += values[place + channel * plane] / channels;
    }
    image.data.set(signedColour(largest && mean / largest), 4 * place);
  }
  putImage(canvas, image);
}

function perturbationView(frame, shape) {
  const canvas = element("canvas", { role: "img" });
  canvas.style.outline = "1px solid var(--explorable-border)";
  const bar = colourBar(signedColour, -1, 1);
  panel(frame, "Perturbation", canvas, bar.node);
  return ({ image, attacked }) => {
    const values = attacked.map((pixel, i) => pixel - image[i]);
    const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    const most = String(Number(largest.toPrecision(2)));
    bar.say(largest ? `−${most}` : "", most);
    canvas.ariaLabel = largest
      ? `The perturbation, up to ${most}: blue pixels are made brighter, orange ones darker.`
      : "No perturbation.";
    drawPerturbation(canvas, values, shape, largest);
  };
}

function attackedView(frame, shape) {
  const canvas = element("canvas", { role: "img", ariaLabel: "The attacked image" });
  panel(frame, "Attacked image", canvas);
  return ({ attacked }) => drawImage(canvas, attacked, shape);
}

function answerView(frame, name, index, classes) {
  const phrase = networkPhrase(name);
  const { svg } = svgPanel(frame, phrase[0].toUpperCase() + phrase.slice(1));
  return ({ answers, truth }) => {
    const description = `The ${phrase} says ${spoken(answers[index], classes)}.`;
    drawBars(svg, Array.from(answers[index]), { labels: classes, truth, description });
  };
}

function startNewRow(frame) {
  const row = element("div");
  Object.assign(row.style, { flexBasis: "100%", marginTop: "-1rem" }); // the gap is there already
  frame.picture.append(row);
}

// --- Putting it together

// What is drawn is the image after the last.
function addDrawing(frame, { images }) {
  const { model } = frame;
  model.restrict?.("drawing", (text) => (readPicture(text) ? text : ""));
  drawingPad(frame, readPicture(model.get("drawing")), (pixels) => {
    model.set("drawing", pixels ? writtenPicture(pixels) : "");
    model.set("image", pixels ? images.length : 0);
    model.save_changes();
  });
}

function addAttackControls(frame, explorer) {
  const { model } = frame;
  const names = explorer.networks.map(({ name }) => name);
  networksChoice(frame);
  imageChoice(frame, explorer, explorer.images.length, model.get("own"));
  choice(frame, {
    name: "attack",
    label: "attack",
    options: ["FGSM", { value: "PGD", label: `PGD, ${model.get("steps")} steps` }, MINIMUM],
  });
  if (names.length > 1) choice(frame, { name: "target", label: "gradient of", options: names });
  const values = model.get("eps_values");
  const eps = slider(frame, { name: "eps", label: "strength ε", values, format: shortNumber });
  const seed = seedButton(frame, "New random draws");
  return () => {
    const isMinimum = model.get("attack") === MINIMUM;
    turnOff(eps, isMinimum ? "This attack ends, at any strength, when the label is lost." : "");
    const { isKernels, networks } = explorer;
    const isRandom = isKernels || networks.some(({ network }) => isStochastic(network));
    offer(seed, isRandom || (model.get("attack") === "PGD" && model.get("eps") > 0));
  };
}

function renderAttack({ model, el }) {
  const frame = explorable(model, el, { label: "Networks under attack" });
  const isKernels = Boolean(model.get("_missing_layer"));
  const explorer = { ...readPictures(model), networks: model.get("networks"), isKernels };
  const { networks, images, shape, classes } = explorer;
  if (model.get("own")) addDrawing(frame, explorer);
  const pictures = [attackedView(frame, shape), perturbationView(frame, shape)];
  if (networks.length > 1) startNewRow(frame);
  const views = [
    ...pictures,
    ...networks.map(({ name }, index) => answerView(frame, name, index, classes)),
  ];
  const showControls = addAttackControls(frame, explorer);
  reserve(frame, longestSentences(explorer, model.get("eps_values")));

  function show(state, result) {
    for (const view of views) view(result);
    say(frame, sentence(state, result, explorer));
  }

  function showAnswer({ attacked, answers, truth }, setting) {
    const isOwn = setting.image === images.length;
    const image = isOwn ? readPicture(setting.drawing) : images[setting.image];
    show(setting, { image, attacked: Float32Array.from(attacked), answers, truth, isOwn });
  }

  const ask = isKernels && kernelQuestions(frame, showAnswer);
  const attack = isKernels || attackInBackground(frame);
  follow(frame, ["drawing", "image", "attack", "target", "eps", "seed", ...PYTHONS], (state) => {
    showControls();
    const { steps: _, num_samples: __, eot_samples: ___, ...setting } = state;
    if (ask) ask(setting);
    else attack(state, (result) => show(state, result));
  });
  return frame.close;
}

function render(context) {
  return withChosenNetworks(context, renderAttack);
}

export default { render };
