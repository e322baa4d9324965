/** A list of notes, the same in every tab, and still there tomorrow. */
import { open } from "tidemark/browser";
import { list } from "./notes.js";

const opened = open("my-notes").then((tide) => tide.topic("notes"));
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
    // Resolves once it is on the disk.
    await notes.append({ value: text });
    status.textContent = "";
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

try {
  const view = (await opened).view(list);
  view.subscribe(show);
  await view.ready();
  show(view.current);
} catch (error) {
  // In a browser without storage for this page, for example. The message says what to do.
  status.textContent = `The list can't be opened: ${error.message}`;
}
