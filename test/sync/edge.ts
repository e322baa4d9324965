/** The edge of the end-to-end runs: one workerd with its state on disk, which asks for tokens, and what it holds. */
import { RawWorkerd } from "../edge/raw-workerd.ts";
import { smallSegments } from "../edge/small-segments.ts";
import type { PlantedBug } from "../support/planted-bug.ts";
import { SECRET, tokenOf } from "./tokens.ts";

export async function startEdge(
  directory: string,
  plants: readonly PlantedBug[] = [smallSegments(96)],
): Promise<RawWorkerd> {
  const worker = await RawWorkerd.create({ directory, settings: { TIDEMARK_JWT_SECRETS: SECRET }, plants });
  await worker.start();
  return worker;
}

const headers = async (): Promise<Record<string, string>> => ({
  authorization: `Bearer ${await tokenOf("reader", 60)}`,
});
const addressOf = (url: string, log: string): string =>
  `${url}/v1/stream/${log.split("/").map(encodeURIComponent).join("/")}`;
const offsetIn = (response: Response): number => Number(response.headers.get("stream-next-offset")!.slice(0, 16));

/** The end of the edge's log. */
export async function endOf(url: string, log: string): Promise<number> {
  const response = await fetch(addressOf(url, log), { method: "HEAD", headers: await headers() });
  if (!response.ok) throw new Error(`the edge does not tell its end: ${response.status}`);
  return offsetIn(response);
}

/** All values of the edge's log, by offset. It keeps everything, so a value's place in the list is its offset. */
export async function readEdge(url: string, log: string): Promise<[offset: number, value: string][]> {
  const found: [number, string][] = [];
  for (let offset = "-1"; ;) {
    const response = await fetch(`${addressOf(url, log)}?offset=${offset}`, { headers: await headers() });
    if (!response.ok) throw new Error(`the edge's log can't be read: ${response.status}`);
    for (const value of (await response.json()) as string[]) found.push([found.length, value]);
    offset = response.headers.get("stream-next-offset")!;
    if (response.headers.has("stream-up-to-date")) return found;
  }
}
