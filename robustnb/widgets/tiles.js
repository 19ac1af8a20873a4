// Tiles: a small map for each channel, side by side.

import { colourBar, heat } from "./colours.js";
import { element, putImage } from "./controls.js";

// `shares` of the largest value on the scale say how bright each place is; `group` channels are
// stacked to a block.
export function drawTiles(canvas, shares, shape, group = 1) {
  const [channels, height = 1, width = 1] = shape;
  const gap = group * height * width > 1 ? 1 : 0;
  const step = { x: width + gap, y: group * height + gap };
  const columns = tileColumns(channels / group, step);
  const rows = Math.ceil(channels / group / columns);
  const image = new ImageData(columns * step.x - gap, rows * step.y - gap);
  shares.forEach((share, place) => {
    const channel = Math.floor(place / (height * width));
    const block = Math.floor(channel / group);
    const inBlock = (channel % group) * height * width + (place % (height * width));
    const x = (block % columns) * step.x + (inBlock % width);
    const y = Math.floor(block / columns) * step.y + Math.floor(inBlock / width);
    image.data.set(heat(share), 4 * (y * image.width + x));
  });
  putImage(canvas, image);
}

// Wider than high, and without a gap in the last row if the number of blocks allows it.
function tileColumns(blocks, step) {
  const ideal = Math.sqrt((1.6 * blocks * step.y) / step.x);
  const off = (columns) => Math.abs(Math.log(columns / ideal));
  const even = Array.from({ length: blocks }, (_, i) => i + 1)
    .filter((columns) => blocks % columns === 0)
    .reduce((best, columns) => (off(columns) < off(best) ? columns : best));
  return off(even) < 0.5 ? even : Math.min(blocks, Math.ceil(ideal));
}

// The one scale of all tiles, across the whole picture.
export function addTileScale(frame, from, to) {
  const { node, say } = colourBar(heat, 0, 1);
  say(from, to);
  frame.picture.append(node);
}

export function tileCanvas() {
  return element("canvas", { role: "img", className: "explorable-tiles explorable-half" });
}
