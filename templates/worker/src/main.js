/**
 * A list of notes on several devices. Notes are written here first, with or without a network, and brought to the edge
 * and to everybody else. `?device=phone` makes one browser two devices.
 */
import { open } from "tidemark/browser";
import { list } from "./notes.js";

const device = new URLSearchParams(location.search).get("device") ?? "this-browser";
const opening = open(`my-notes-${device}`, { sync: { url: location.origin, topics: ["notes"] } });
const opened = opening.then((tide) => tide.topic("notes"));
const status = document.getElementById("status");

// Before anything is awaited, so that the form works from the first moment.
const add = document.querySelector("form");
const field = add.querySelector("input");
add.onsubmit = async (event) => {
  event.preventDefault();
  const text = field.value;
  add.reset();
  try {
    const notes = await opened;
    await notes.append({ value: text });
  } catch (error) {
    status.textContent = `Not saved: ${error.message}`;
    // The text comes back, unless another note is being typed.
    field.value ||= text;
  }
};

function show(all) {
  const items = all.map(({ text }) => Object.assign(document.createElement("li"), { textContent: text }));
  document.getElementById("notes").replaceChildren(...items);
}

function tell({ state, topics }) {
  const { records } = topics.notes?.pending ?? { records: 0 };
  status.textContent = records === 0 ? state : `${state}, ${records} to send`;
}

try {
  const view = (await opened).view(list);
  view.subscribe(show);
  await view.ready();
  show(view.current);
  const { syncing } = await opening;
  syncing.subscribe(tell);
  tell(syncing.status);
} catch (error) {
  // In a browser without storage for this page, for example. The message says what to do.
  status.textContent = `The list can't be opened: ${error.message}`;
}
