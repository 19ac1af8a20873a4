// The share of right answers at each setting of a slider, computed and drawn.

import { drawChart, SHARES, svgPanel } from "./charts.js";
import { largestIndex } from "./network.js";
import { percentage } from "./words.js";

// Yields after every image. `answer` takes an image to its logits or probabilities.
export function* accuracySteps({ images, labels }, answer) {
  let right = 0;
  for (let i = 0; i < images.length; i++) {
    right += largestIndex(answer(images[i])) === labels[i];
    yield;
  }
  return right / images.length;
}

// Computes by `steps(setting)` what the map `known` lacks, and calls `show` after each.
export function* missingSteps(known, settings, steps, show) {
  for (const setting of settings) {
    if (known.has(setting)) continue;
    known.set(setting, yield* steps(setting));
    show();
  }
}

// Draws points [x, accuracy], of which `here` is the x chosen; `nameOf` puts an x into words.
export function accuracyView(frame, { x, y = SHARES, nameOf, hasDots = false, isHalf }) {
  const { svg, heading } = svgPanel(frame);
  return (title, points, here) => {
    heading.textContent = title;
    const chosen = points.filter(([each]) => each === here);
    const shares = points.map(([each, share]) => `${percentage(share)} at ${nameOf(each)}`);
    drawChart(svg, {
      x,
      y,
      series: [
        { points, draw: "line" },
        ...(hasDots ? [{ points, draw: "dots" }] : []),
        { points: chosen, draw: "dots", isNew: true, size: 10 },
      ],
      description: shares.join(", ") || "not yet known",
      isHalf,
    });
  };
}
