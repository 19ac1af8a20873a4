// What explorables of images share: the images, the networks, and answers over many draws.

import { drawBars, svgPanel } from "./charts.js";
import { pictureChoice } from "./controls.js";
import {
  decodeTensor,
  largestIndex,
  loadNetwork,
  meanProbabilities,
  product,
  softmax,
} from "./network.js";
import { percentage } from "./words.js";

// --- What the model holds

export function readPictures(model) {
  const spec = model.get("pictures");
  const [count, ...shape] = spec.shape;
  const pixels = decodeTensor(spec, model.get("blobs"));
  const size = product(shape);
  const images = Array.from({ length: count }, (_, i) => pixels.subarray(i * size, (i + 1) * size));
  return { images, shape, labels: model.get("labels"), classes: model.get("classes") };
}

// Each entry of the trait `networks`, its network loaded beside its `description`.
export function readNetworks(model) {
  const blobs = model.get("blobs");
  return model.get("networks").map(({ network: description, ...entry }) => ({
    ...entry,
    description,
    network: loadNetwork(description, blobs),
  }));
}

// Chooses one of the first `count` images. With `own`, one more is chosen by drawing it.
export function imageChoice(frame, { images, shape, labels, classes }, count, own = false) {
  pictureChoice(frame, {
    name: "image",
    label: "image",
    pictures: images.slice(0, count),
    shape,
    labels: labels.slice(0, count).map((label, i) => `image ${i + 1}: ${classes[label]}`),
    more: own ? 1 : 0,
  });
}

// --- Answers over many draws

// How often each class had the largest number: [class, count], the most frequent first.
function answerCounts(draws) {
  const counts = new Map();
  for (const draw of draws) {
    const top = largestIndex(draw);
    counts.set(top, (counts.get(top) ?? 0) + 1);
  }
  return [...counts].sort((one, two) => two[1] - one[1]);
}

const NAMED = 3; // answers of single draws

// "7 in 64, 1 in 20, 9 in 10, others in 6"
export function leadingAnswers(draws, classes, unit = "") {
  const counts = answerCounts(draws);
  const named = counts.slice(0, NAMED).map(([top, count], i) =>
    `${classes[top]} in ${count}${i === 0 ? unit : ""}`);
  const others = counts.slice(NAMED).reduce((total, [, count]) => total + count, 0);
  return [...named, ...(others ? [`others in ${others}`] : [])].join(", ");
}

// "7 in 64 of 100 draws, 1 in 20, 9 in 10, others in 6"
export function countedAnswers(samples, classes) {
  const [[top], ...others] = answerCounts(samples);
  const name = classes[top];
  if (samples.length === 1) return `${name} (${percentage(softmax(samples[0])[top])})`;
  if (others.length === 0) return `${name} in all ${samples.length} draws`;
  return leadingAnswers(samples, classes, ` of ${samples.length} draws`);
}

// As long as these can become: all classes answer, the longest names most often.
export function longestCounts(count, classes) {
  const names = [...classes.keys()].sort((a, b) => classes[b].length - classes[a].length);
  const draws = Array.from({ length: count }, (_, i) => oneHotOf(classes, names[i % names.length]));
  return countedAnswers(draws, classes);
}

function oneHotOf(classes, chosen) {
  return classes.map((_, label) => Number(label === chosen));
}

export function drawsView(frame, classes) {
  const { svg, heading } = svgPanel(frame);
  return ({ samples, truth }) => {
    const isMany = samples.length > 1;
    heading.textContent = isMany ? "Bar: mean, dots: draws" : "Answer";
    const dots = isMany ? samples.map(softmax) : [];
    const values = Array.from(meanProbabilities(samples));
    const description = `The answer is ${countedAnswers(samples, classes)}.`;
    drawBars(svg, values, { labels: classes, truth, dots, description });
  };
}
