/**
 * The panel of the edge that `npm start` runs beside this page: its address, whether it answers, and how to talk to it.
 */
import { byId, el, number, onClick } from "./dom.ts";

const LOOK_MS = 1_000;
/** How often the page asks for the edge's address: workerd starts within some seconds, and there may be no edge. */
const LOOKS = 30;

/** undefined: this page is served without an edge, or by another server. null: the edge is still starting. */
async function edgeUrl(): Promise<string | null | undefined> {
  const answer = await fetch("./edge.json", { cache: "no-store" }).catch(() => undefined);
  const isJson = answer?.ok && answer.headers.get("content-type")?.startsWith("application/json");
  return isJson ? ((await answer.json()) as { url?: string | null }).url : undefined;
}

const json = { "content-type": "application/json" };

function show(origin: string): void {
  const stream = `${origin}/v1/stream/playground`;
  const text = byId("edge-text");
  byId("edge-state").replaceChildren("Running at ", el("code", {}, origin), ", in local workerd, without tokens.");
  const lines = [
    `curl -X PUT ${stream} -H 'content-type: application/json'`,
    `curl -X POST ${stream} -H 'content-type: application/json' -d '{"hello":"edge"}'`,
    `curl '${stream}?offset=-1'`,
  ];
  byId("edge-curl").textContent = lines.join("\n");
  for (const id of ["edge-send", "edge-read", "edge-copy"]) byId<HTMLButtonElement>(id).disabled = false;
  onClick("edge-send", text, async () => {
    await fetch(stream, { method: "PUT", headers: json });
    const started = performance.now();
    const body = JSON.stringify({ from: "the playground", at: new Date().toISOString() });
    const answer = await fetch(stream, { method: "POST", headers: json, body });
    const ms = performance.now() - started;
    text.textContent = answer.ok
      ? `Acknowledged after ${ms.toFixed(1)} ms.`
      : `${answer.status}: ${await answer.text()}`;
  });
  onClick("edge-read", text, async () => {
    const answer = await fetch(`${stream}?offset=-1`);
    if (answer.status === 404) return void (text.textContent = "Nothing there yet: send a record first.");
    const records = (await answer.json()) as unknown[];
    text.textContent = `${number(records.length)} records; the last one: ${JSON.stringify(records.at(-1))}`;
  });
  onClick("edge-copy", text, async () => {
    await navigator.clipboard.writeText(lines.join("\n"));
    text.textContent = "Copied: paste it into a terminal.";
  });
}

/** Waits until the edge answers. Resolves with its address, or undefined where there is none. */
export async function edgePanel(): Promise<string | undefined> {
  for (let look = 0; look < LOOKS; look++) {
    const url = await edgeUrl();
    if (url) show(url);
    if (url) return url;
    if (url === undefined) break;
    byId("edge-state").textContent = "Starting …";
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
  byId("edge-state").replaceChildren(
    "No edge beside this page. In the repository, ",
    el("code", {}, "npm start"),
    " runs one; in an app that has Wrangler, ",
    el("code", {}, "npx tidemark dev"),
    " does.",
  );
  return undefined;
}
