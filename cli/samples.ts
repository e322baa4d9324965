/**
 * Data for the playground of the package, in the form of the data sets that the repository's own playground loads. They
 * are made up, and the same each time.
 */
const FLIGHTS = 200_000;
const QUAKES = 1_700;
const WEEK_MS = 7 * 24 * 3_600_000;
const FROM = Date.UTC(2018, 1, 1);
const PLACES = ["Alaska", "California", "Nevada", "Hawaii", "Puerto Rico", "Indonesia", "Japan", "Chile"];

/** Numbers from 0 to 1 (mulberry32). */
function numbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

function flights(): string {
  const next = numbers(1);
  const rows = Array.from({ length: FLIGHTS }, (_, n) => ({
    delay: Math.round(-15 - 30 * Math.log(1 - next() * 0.99) * (next() - 0.3)),
    distance: Math.round(80 + 2_400 * next() * next()),
    time: (24 * n) / FLIGHTS,
  }));
  return JSON.stringify(rows);
}

function quakes(): string {
  const next = numbers(2);
  const features = Array.from({ length: QUAKES }, (_, n) => ({
    properties: {
      mag: Math.round(100 * (1 - Math.log(1 - next() * 0.99))) / 100,
      place: `${1 + Math.floor(next() * 90)}km N of somewhere, ${PLACES[Math.floor(next() * PLACES.length)]}`,
      time: FROM + Math.floor(((n + next()) * WEEK_MS) / QUAKES),
      code: `made${n}`,
    },
    geometry: { coordinates: [next() * 360 - 180, next() * 160 - 80, next() * 60] },
  }));
  return JSON.stringify({ features });
}

const SAMPLES: Readonly<Record<string, () => string>> = {
  "/samples/flights-200k.json": flights,
  "/samples/earthquakes.json": quakes,
};

/** The sample at this address; undefined if there is none. */
export const sampleOf = (pathname: string): string | undefined =>
  Object.hasOwn(SAMPLES, pathname) ? SAMPLES[pathname]!() : undefined;
