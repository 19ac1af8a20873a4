// Words for numbers.

export function percentage(share) {
  return share > 0.995 && share < 1 ? ">99%" : `${Math.round(100 * share)}%`;
}

export function shortNumber(value) {
  return String(Number(value.toPrecision(3)));
}
