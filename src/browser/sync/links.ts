/**
 * The links of a tide: one carries as many topics as a socket has channels, further topics get another. To the tide
 * they are one: what is said to it is said to all, and it is live when all are. While nothing is synced there is none.
 *
 *   no edge ── url ──▶ begin ─▶ a link for the first topics, another for the next … ── end ──▶ no edge
 */
import { type LinkOptions, type Linked, SyncLink } from "../../sync/link.ts";
import type { LinkEvent, LinkState } from "../../sync/link-state.ts";
import type { LinkWishes } from "../../sync/topic-options.ts";
import { TOPICS_MAX } from "../../sync/window-budget.ts";

interface OneLink {
  readonly link: SyncLink;
  readonly sessions: Set<Linked>;
}

export class Links {
  readonly #options: Omit<LinkOptions, "sessions" | "url">;
  #links: OneLink[] = [];
  /** The edge of all topics; undefined while nothing is synced. */
  url: string | undefined;
  /** What people wish of the links; undefined before the first topic is open. */
  wishes: LinkWishes | undefined;

  constructor(options: Omit<LinkOptions, "sessions" | "url">) {
    this.#options = options;
  }

  /** Called with each topic. The first one brings what the notes of an earlier opening say. */
  begin(noted: readonly LinkWishes[]): void {
    this.wishes ??= { ...noted[0], paused: noted.some(({ paused }) => paused) };
  }

  /** Nothing is synced any more, so sync() may name another edge. */
  end(): void {
    this.close();
    this.#links = [];
    this.url = this.wishes = undefined;
  }

  /** The link that carries this session from now on. A new one does what the others do: waits, or connects. */
  add(session: Linked): SyncLink {
    const free = this.#links.find(({ sessions }) => sessions.size < TOPICS_MAX) ?? this.#another();
    free.sessions.add(session);
    return free.link;
  }

  #another(): OneLink {
    const { state } = this;
    const sessions = new Set<Linked>();
    const made = { link: new SyncLink({ ...this.#options, url: this.url!, sessions }), sessions };
    this.#links.push(made);
    if (state.at === "paused") made.link.step({ on: "pause", why: state.why });
    else if (state.at !== "idle") made.link.step({ on: "wanted" });
    return made;
  }

  remove(session: Linked): void {
    for (const { sessions } of this.#links) sessions.delete(session);
  }

  /** The state of the first link that is not live. If all are live, the state of the first one. */
  get state(): LinkState {
    const states = this.#links.map(({ link }) => link.state);
    const begun: LinkState = this.wishes?.paused ? { at: "paused", why: "user" } : { at: "idle" };
    return states.find(({ at }) => at !== "live") ?? states[0] ?? begun;
  }
  /** True if the edge has spoken on each link since that was opened. */
  get isConnected(): boolean {
    return this.state.at === "live" && this.#links.every(({ link }) => link.wasHeard);
  }
  /** Wall clock: when the next try of any is made. */
  get nextTryAt(): number | undefined {
    const times = this.#links.flatMap(({ link }) => link.nextTryAt ?? []);
    return times.length > 0 ? Math.min(...times) : undefined;
  }
  get failure(): SyncLink["failure"] {
    return this.#links.find(({ link }) => link.failure)?.link.failure;
  }

  step(event: LinkEvent): void {
    for (const { link } of this.#links) link.step(event);
  }
  hint(on?: "returned"): void {
    for (const { link } of this.#links) link.hint(on);
  }
  close(): void {
    for (const { link } of this.#links) link.close();
  }
}
