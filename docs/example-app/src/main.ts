/**
 * A list that several people share. The page folds a local log into the list, shows that, and appends changes to it;
 * Tidemark brings the log to the edge and to everybody else's devices when there is a network.
 */
import { open, type Sync, type Topic } from "tidemark/browser";
import { apply, type Change, EMPTY, type List } from "./list.ts";
import { signedIn, signIn, signOut, token } from "./session.ts";
import { questionOf, statusText, waitingIn } from "./status.ts";

const TOPIC = "changes";
/** The longest time that a sign-out waits for what is not at the edge yet. */
const DRAIN_MS = 5_000;

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

/** Signs in as somebody, and then does what follows. */
function askWho(name: string | null, signedInAs: (name: string) => unknown): void {
  const form = by<HTMLFormElement>("sign-in");
  const input = form.elements.namedItem("name") as HTMLInputElement;
  if (form.hidden) input.value = name ?? "";
  form.hidden = false;
  form.onsubmit = (event) => {
    event.preventDefault();
    signIn(input.value).then(
      () => signedInAs(input.value),
      (error: unknown) => (by("status").textContent = String(error)),
    );
  };
}

/** What was refused, and the buttons that answer it. A status that says the same leaves them alone. */
function ask(sync: Sync): void {
  const question = questionOf(sync, TOPIC);
  const place = by("question");
  place.hidden = !question;
  if (place.dataset["text"] === (question?.text ?? "")) return;
  place.dataset["text"] = question?.text ?? "";
  const buttons = Object.entries(question?.answers ?? {}).map(([text, answer]) =>
    element(
      "button",
      {
        type: "button",
        onclick: () => void answer().catch((error: unknown) => (by("status").textContent = String(error))),
      },
      text,
    ),
  );
  place.replaceChildren(element("p", {}, question?.text ?? ""), ...buttons);
}

/** What is here only is sent first. What can't be sent is asked about: it waits here until the same person is back. */
async function mayLeave(sync: Sync, name: string): Promise<boolean> {
  if (sync.status.connected) await sync.drained({ signal: AbortSignal.timeout(DRAIN_MS) }).catch(() => undefined);
  const waiting = waitingIn(sync.status);
  if (waiting === 0) return true;
  return confirm(`${waiting} of your changes are on this device only, until ${name} signs in here again. Sign out?`);
}

async function start(name: string): Promise<void> {
  // `?device=phone` makes one browser two devices: each has a log of its own.
  const device = new URLSearchParams(location.search).get("device") ?? "this-browser";
  const tide = await open(`list-${name}-${device}`, {
    sync: { url: location.origin, topics: { [TOPIC]: { path: "lists/groceries" } }, token },
  });
  const topic: Topic<Change> = tide.topic<Change>(TOPIC);
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
    const { state, reason } = sync.status;
    offline.checked = state === "paused" && reason === "user";
    ask(sync);
    // The session is over. The list stays, and what is written waits. Another person has another tide.
    if (state === "paused" && reason === "signed-out")
      askWho(name, (now) => (now === name ? sync.authenticate() : location.reload()));
    else by("sign-in").hidden = true;
  };
  sync.subscribe(tell);
  tell();
  by("sign-out").onclick = async () => {
    if (!(await mayLeave(sync, name))) return;
    await tide.close();
    await signOut();
    location.reload();
  };
  by("who").textContent = `${name}, on ${device}.`;
  by("list").hidden = false;
}

const name = signedIn();
if (name === null) askWho(null, () => location.reload());
else await start(name).catch((error: unknown) => (by("status").textContent = String(error)));
