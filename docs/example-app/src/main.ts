/**
 * A list that several people share. The page folds a local log into the list, shows that, and appends changes to it;
 * Tidemark brings the log to the edge and to everybody else's devices when there is a network.
 */
import { open, type Topic } from "tidemark/browser";
import { apply, type Change, EMPTY, type List } from "./list.ts";
import { signedIn, signIn, signOut, token } from "./session.ts";
import { statusText } from "./status.ts";

const by = <E extends HTMLElement>(id: string): E => document.getElementById(id) as E;

/** What people typed is text, never markup. */
function element(name: string, properties: object, ...children: (Node | string)[]): HTMLElement {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function show(list: List, append: (change: Change) => void): void {
  const items = Object.entries(list).map(([item, { text, done }]) => {
    const check = element("input", {
      type: "checkbox",
      checked: done,
      ariaLabel: text,
      onchange: () => append({ type: "checked", item, done: !done }),
    });
    const remove = element(
      "button",
      { type: "button", ariaLabel: `Remove ${text}`, onclick: () => append({ type: "removed", item }) },
      "Remove",
    );
    return element("li", { className: done ? "done" : "" }, check, element("span", {}, text), remove);
  });
  by("items").replaceChildren(...items);
}

async function start(name: string): Promise<void> {
  // `?device=phone` makes one browser two devices: each has a log of its own.
  const device = new URLSearchParams(location.search).get("device") ?? "this-browser";
  const tide = await open(`list-${name}-${device}`, {
    sync: { url: location.origin, topics: { changes: { path: "lists/groceries" } }, token },
  });
  const topic: Topic<Change> = tide.topic<Change>("changes");
  const sync = tide.syncing!;

  // Durable here when it resolves, with or without a network.
  const append = (change: Change): void => {
    topic
      .append({ key: change.item, value: change })
      .catch((error: unknown) => (by("status").textContent = String(error)));
  };
  const view = topic.view<List>({
    name: "list",
    initial: () => EMPTY,
    apply: (list, { value }) => (value === null ? list : apply(list, value)),
  });
  view.subscribe((list) => show(list, append));
  await view.ready();
  show(view.current, append);

  by("add").onsubmit = (event) => {
    event.preventDefault();
    const form = event.target as HTMLFormElement;
    append({ type: "added", item: crypto.randomUUID(), text: String(new FormData(form).get("text")) });
    form.reset();
  };
  const offline = by<HTMLInputElement>("offline");
  offline.onchange = () => void (offline.checked ? sync.pause() : sync.resume());
  const tell = (): void => {
    by("status").textContent = statusText(sync.status);
    offline.checked = sync.status.state === "paused" && sync.status.reason === "user";
  };
  sync.subscribe(tell);
  tell();
  by("sign-out").onclick = async () => {
    await tide.close();
    await signOut();
    location.reload();
  };
  by("who").textContent = `${name}, on ${device}.`;
  by("list").hidden = false;
}

const name = signedIn();
if (name === null) {
  by("sign-in").hidden = false;
  by("sign-in").onsubmit = async (event) => {
    event.preventDefault();
    await signIn(String(new FormData(event.target as HTMLFormElement).get("name")));
    location.reload();
  };
} else await start(name);
