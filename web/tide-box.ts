/**
 * A log as water with a line above it. Committed records stand in the water, the newest on top. The line is the
 * tidemark. Records that only this device has stand above the line, again the newest on top.
 *
 *     only here   glue            laptop
 *     ───────────────────── tidemark 13
 *     12          paint           laptop
 *     11          milk            phone
 *
 * A row is the same element before and after its record's commit, so that it is seen to go under the line. All rows
 * have one height and are moved by transforms: nothing around them moves.
 */
import "./tide-box.css";
import { el, number } from "./dom.ts";

export interface Row {
  readonly id: string;
  /** Undefined: the record has no place at the edge yet. */
  readonly offset: number | undefined;
  readonly text: string;
  readonly from: string;
}

export interface Tide {
  /** Oldest first. The last ones are shown. */
  readonly committed: readonly Row[];
  /** Oldest first. */
  readonly provisional: readonly Row[];
  /** Exclusive: the offset that the next committed record gets. */
  readonly end: number;
}

/** Most provisional rows that are shown. If there are more, one row says how many. */
const ABOVE = 5;

export class TideBox {
  readonly #rows: number;
  readonly #mark: HTMLElement;
  readonly #label: string;
  readonly #water: HTMLElement;
  readonly #list = el("ol", { className: "rows" });
  readonly #shown = new Map<string, HTMLElement>();

  /** `label` is what the line is called; `rows` is how many records there is room for. */
  constructor(target: HTMLElement, { label, rows, name }: { label: string; rows: number; name: string }) {
    this.#rows = rows;
    this.#label = label;
    this.#water = el("div", { className: "water" });
    this.#mark = el("p", { className: "mark" });
    this.#list.setAttribute("aria-label", name);
    target.classList.add("tide-box");
    target.style.setProperty("--rows", String(rows + 1));
    target.replaceChildren(this.#water, this.#mark, this.#list);
    this.draw({ committed: [], provisional: [], end: 0 });
  }

  draw({ committed, provisional, end }: Tide): void {
    const hidden = provisional.length > ABOVE ? provisional.length - ABOVE + 1 : 0;
    const above = provisional.slice(hidden);
    const room = this.#rows - above.length - (hidden > 0 ? 1 : 0);
    const below = committed.slice(-room);
    lift(this.#water, below.length);
    lift(this.#mark, below.length);
    this.#mark.textContent = `${this.#label} ${number(end)}`;
    const more = { id: "more", offset: undefined, text: `and ${number(hidden)} more`, from: "" };
    const rows = [...below, ...(hidden > 0 ? [more] : []), ...above];
    const wanted = new Set(rows.map(({ id }) => id));
    for (const [id, element] of this.#shown) {
      if (wanted.has(id)) continue;
      element.remove();
      this.#shown.delete(id);
    }
    // From the top: an element that already stands at its place is not taken out, which would end its movement.
    let before = this.#list.firstElementChild;
    for (const [i, row] of [...rows.entries()].reverse()) {
      const element = this.#rowOf(row);
      lift(element, i < below.length ? i : i + 1);
      if (element === before) before = before.nextElementSibling;
      else this.#list.insertBefore(element, before);
    }
  }

  #rowOf({ id, offset, text, from }: Row): HTMLElement {
    const known = this.#shown.get(id);
    const element =
      known ?? el("li", {}, el("span", { className: "place" }), el("span", { className: "text" }), el("span"));
    this.#shown.set(id, element);
    element.classList.toggle("provisional", offset === undefined);
    const texts = [offset === undefined ? "only here" : number(offset), text, from];
    for (const [i, each] of [...element.children].entries())
      if (each.textContent !== texts[i]) each.textContent = texts[i]!;
    return element;
  }
}

/** Places an element so many rows above the ground. */
const lift = (element: HTMLElement, rows: number): void => element.style.setProperty("--up", String(rows));
