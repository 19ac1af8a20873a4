// The colours of maps, those of robustnb/plots/maps.py, and the bar that says what they mean.

import { element } from "./controls.js";

export const ORANGE = [213, 94, 0]; // of class 0, and of what is made darker: seen by all
export const BLUE = [0, 114, 178]; // of class 1, and of what is made brighter

// From none to most, in even steps of lightness.
const HEAT = [[12, 12, 30], [82, 46, 119], [211, 61, 112], [251, 157, 87], [255, 243, 190]];

// The colour of a share between 0 and 1 of the largest value on the scale, as [r, g, b, alpha].
export function heat(share) {
  const place = Math.min(1, Math.max(0, share)) * (HEAT.length - 1);
  const below = Math.min(HEAT.length - 2, Math.floor(place));
  const mix = place - below;
  return [...HEAT[below].map((from, i) => from + mix * (HEAT[below + 1][i] - from)), 255];
}

// That of a share between -1 and 1: the weaker, the more one sees the page through it.
export function signedColour(share) {
  return [...(share > 0 ? BLUE : ORANGE), 255 * Math.min(1, Math.abs(share))];
}

// A bar from the colour of `low` to that of `high`; `say(from, to)` names its ends.
export function colourBar(colour, low, high) {
  const stops = Array.from({ length: 33 }, (_, i) => {
    const [red, green, blue, alpha] = colour(low + ((high - low) * i) / 32).map(Math.round);
    return `rgb(${red} ${green} ${blue} / ${alpha / 255})`;
  });
  const [from, to] = [element("span"), element("span")];
  const strip = element("span", { ariaHidden: "true" });
  strip.style.background = `linear-gradient(to right, ${stops.join()})`;
  const node = element("div", { className: "explorable-colours" }, from, strip, to);
  const say = (low, high) => {
    [from.textContent, to.textContent] = [low, high];
  };
  return { node, say };
}
