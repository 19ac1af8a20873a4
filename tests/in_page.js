// What only tests call in the page.

import { fgsmSteps, minimumNormSteps, pgdSteps } from "../robustnb/widgets/attacks.js";
import { largestIndex } from "../robustnb/widgets/network.js";

// Runs a generator to its end.
export function finished(steps) {
  let step = steps.next();
  while (!step.done) step = steps.next();
  return step.value;
}

export const ATTACKS = { fgsm: fgsmSteps, pgd: pgdSteps, minimumNorm: minimumNormSteps };

// Of the largest other logit minus the label's, which does not saturate.
export function marginGradient(logits, label) {
  const gradient = new Float32Array(logits.length);
  gradient[largestIndex(logits, label)] = 1;
  gradient[label] = -1;
  return gradient;
}

// A generator that gives out the numbers of a list, so that torch can be given the same ones.
export function listed(numbers) {
  let next = 0;
  const take = () => numbers[next++];
  return { uniform: take, normal: take };
}
