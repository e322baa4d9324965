/**
 * Planted bugs for the tabs' simulation: the product with one piece of its source replaced
 * (test/support/planted-bug.ts).
 */
import type { PlantedBug } from "../../support/planted-bug.ts";
import type { PlanKind } from "./plan.ts";

export interface TabsMutant extends PlantedBug {
  /** The search begins at this seed, a little before the first one known to catch the bug. */
  readonly from?: number;
  /** The kind of histories that reach the bug; default: those over files. */
  readonly plan?: PlanKind;
}

const TABS = "src/browser/tabs/membership.ts";
const ELECTION = "src/browser/tabs/election.ts";
const DEPOSING = "src/browser/tabs/deposing.ts";
const LIFE = "src/browser/tabs/life.ts";
const TAKEOVER = "src/browser/volume/copying-volume.ts";
const TERM = "src/browser/worker/term.ts";
const STORE = "src/store/segment-store.ts";
const LOG = "src/log/log.ts";
const DATABASE = "src/browser/volume/idb-connection.ts";

/**
 * No history of hundreds shows this one: a page that has lost the lead ends its worker before that meets the lock. A
 * test of two workers does (ahead.test.ts).
 */
export const SHARED_LOCK: TabsMutant = {
  name: "slot 0 is shared like the others",
  file: "src/browser/volume/opfs-volume.ts",
  find: "this.#files.open(slotName(slot));",
  replace: "this.#files.open(slotName(slot), SHARED);",
};

export const TABS_MUTANTS: readonly TabsMutant[] = [
  // Terms.
  {
    name: "no epoch check on acks: one who is deposed keeps its term",
    file: "src/browser/tabs/locks.ts",
    find: "await navigator.locks.request(lock, { steal: true }, () => undefined);",
    replace: "void lock;",
    from: 9,
  },
  {
    name: "lease check removed",
    file: TERM,
    find: "if (!(await heldLocks()).includes(this.#lock)) return new Promise(this.#leave);",
    replace: "",
    plan: "lease",
    from: 1208,
  },
  {
    name: "term not raised",
    file: STORE,
    find: "this.#epoch = state.epoch + 1;",
    replace: "this.#epoch = state.epoch;",
  },
  { name: "steal without takeover", file: ELECTION, find: "me.tide.takeover = true;", replace: "", from: 61 },
  {
    name: "opens beside a worker that lives",
    file: "src/browser/volume/sole-writer.ts",
    find: "if (workers.length === 1) return;",
    replace: "return;",
    plan: "woken",
    from: 282,
  },
  // The files of a leader that hangs.
  {
    name: "seal omitted: who comes next reads on in the old leader's files",
    file: TAKEOVER,
    find: "const file = whole?.file ?? ((await",
    replace: "const file = ((await",
    from: 26,
  },
  {
    name: "the oldest copy counts",
    file: TAKEOVER,
    find: "known.sort((a, b) => b.number - a.number)",
    replace: "known.sort((a, b) => a.number - b.number)",
    from: 279,
  },
  {
    name: "copies are not brought back",
    file: TAKEOVER,
    find: "for (const { from, to } of back) {",
    replace: "for (const { from, to } of back.slice(back.length)) {",
  },
  // Fail-over.
  {
    name: "sequence state not rebuilt",
    file: "src/log/remembering.ts",
    find: "producers.record(header, header.baseOffset);",
    replace: "{}",
    from: 14,
  },
  {
    name: "duplicate accepted",
    file: LOG,
    find: "if (earlier) return { repeats:",
    replace: "if (earlier && this.#end < 0) return { repeats:",
    from: 14,
  },
  {
    name: "hand-over before flush: acked while it is only in memory",
    file: "src/browser/port/port-server.ts",
    find: "await log.append(batch, request);",
    replace: 'await log.append(batch, { ...request, acks: "accepted" });',
    from: 111,
  },
  {
    name: "no watch on the worker",
    file: "src/browser/page/browser-tide.ts",
    find: "connection.watch();",
    replace: "",
    from: 1233,
  },
  {
    name: "un-acked batches are given up",
    file: "src/delivery/producer.ts",
    find: 'if (error.kind !== "reopen" && !full) throw error;',
    replace: "if (!full) throw error;",
  },
  {
    name: "no answer, and nobody wonders",
    file: "src/browser/tabs/liveness.ts",
    find: "!connection.ended) missed();",
    replace: "!connection.ended) void sleep(0);",
  },
  {
    name: "a page goes to sleep with its connection",
    file: LIFE,
    find: '"freeze", "asleep", "unqueue", "drop all",',
    replace: '"freeze", "asleep", "unqueue",',
    plan: "sleep",
    from: 16,
  },
  {
    name: "nobody deposes",
    file: DEPOSING,
    find: 'else if (onTime && stay === me.stay) me.tell("silence");',
    replace: "",
    from: 30,
  },
  {
    name: "an older connection's end counts for the term",
    file: TABS,
    find: "before.onEnd = undefined;",
    replace: "",
    plan: "late",
  },
  {
    name: "who led does not queue again",
    file: LIFE,
    find: '"lost", "seeking", "let go", "queue", "listen"',
    replace: '"lost", "seeking", "let go"',
    from: 275,
  },
  // The table of a tab's life.
  {
    name: "a start goes on though another tab has taken the lock",
    file: LIFE,
    find: '[RISING, "deposed", "seeking", "drop past", "let go", "queue", "ask"],',
    replace: "",
    from: 263,
  },
  // Pages that hang when they get the lead.
  {
    name: "who came since the look for others is not looked for",
    file: TAKEOVER,
    find: "await waitAlone(name, lifeLock);\n  } catch",
    replace: "} catch",
    plan: "woken",
    from: 2997,
  },
  // Databases, where nothing is locked.
  {
    name: "a term that is over goes on writing",
    file: DATABASE,
    find: "meta.add(0, this.#term);",
    replace: "meta.put(0, this.#term);",
    plan: "indexeddb",
    from: 479,
  },
  {
    name: "a transaction that writes waits for an answer",
    file: DATABASE,
    find: "      const result = work(tx);",
    replace: '      if (mode !== "readonly") await tx.objectStore("meta").get("term");\n      const result = work(tx);',
    plan: "held",
    from: 3,
  },
  {
    name: "a transaction that reads waits for an answer",
    file: DATABASE,
    find: "      commit(tx);\n      const [value]",
    replace: '      if (mode !== "readonly") commit(tx);\n      const [value]',
    plan: "opening",
    from: 39,
  },
  {
    name: "what met a lost connection is not asked for again",
    file: DATABASE,
    find: "const RUNS_AGAIN_MAX = 3;",
    replace: "const RUNS_AGAIN_MAX = 0;",
    plan: "indexeddb",
    from: 117,
  },
  {
    name: "what a lost connection never answers is waited for",
    file: DATABASE,
    find: 'db.addEventListener("close", lost);',
    replace: "",
    plan: "indexeddb",
    from: 827,
  },
  // A topic in sync with an edge.
  {
    name: "one opening of the store has sync twice",
    file: "src/browser/worker/worker-host.ts",
    find: "if (!before || before.store === store) return;",
    replace: "if (!before) return;",
    plan: "synced",
    from: 3,
  },
  {
    name: "the next leader does not go on with what was synced",
    file: "src/browser/worker/worker-host.ts",
    find: "this.#withSync() .then((sync) => sync.resume(), again)",
    replace: "Promise.resolve(again)",
    plan: "synced",
    from: 38,
  },
  {
    name: "a tab does not ask its next leader where its records are",
    file: "src/browser/page/browser-tide.ts",
    find: "this.syncing?.connected();",
    replace: "",
    plan: "synced",
  },
];
