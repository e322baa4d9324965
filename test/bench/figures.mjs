/** What many measurements come to. */
export const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];
export const percentile = (values, p) =>
  values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * p))];
