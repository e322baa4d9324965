/** The data sets: real data from the package vega-datasets, served beside the page. */
import type { RecordInput } from "../src/browser/index.ts";
import quakesUrl from "vega-datasets/data/earthquakes.json?url";
import flightsUrl from "vega-datasets/data/flights-200k.json?url";

export interface Flight {
  readonly delay: number;
  readonly distance: number;
}
export interface Quake {
  readonly mag: number;
  readonly place: string;
  readonly longitude: number;
  readonly latitude: number;
}

const HOUR_MS = 3_600_000;

/** 200,000 flights in order of time. The file has only the hour of the day, so all get the same day: 1 January 2001. */
export async function flights(): Promise<RecordInput<Flight>[]> {
  const rows = (await (await fetch(flightsUrl)).json()) as { delay: number; distance: number; time: number }[];
  const day = Date.UTC(2001, 0, 1);
  return rows.map(({ delay, distance, time }) => ({
    value: { delay, distance },
    timestamp: day + Math.round(time * HOUR_MS),
  }));
}

interface Feature {
  readonly properties: { readonly mag: number; readonly place: string; readonly time: number; readonly code: string };
  readonly geometry: { readonly coordinates: readonly [number, number, number] };
}

/** A week of earthquakes with their real times, oldest first. The key is the region. */
export async function quakes(): Promise<RecordInput<Quake>[]> {
  const { features } = (await (await fetch(quakesUrl)).json()) as { features: Feature[] };
  return features
    .map(({ properties: { mag, place, time, code }, geometry: { coordinates } }) => ({
      key: place.split(", ").at(-1)!,
      value: { mag, place, longitude: coordinates[0], latitude: coordinates[1] },
      headers: { code },
      timestamp: time,
    }))
    .sort((a, b) => a.timestamp - b.timestamp);
}
