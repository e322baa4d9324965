/**
 * Wrong rules, each planted in the place of a right one, and the small world that must find it. W and L are the places
 * where an earlier text of docs/sync.md was wrong or silent.
 */
import { RULES, type Rules } from "./rules.ts";
import { NONE } from "./state.ts";
import { COPIED, type Given, PUT_BACK } from "./configurations.ts";
import { Bad, BAD_NAMES } from "./world.ts";

export interface WrongRule {
  readonly name: string;
  readonly rules: Partial<Rules>;
  readonly given: Given;
  /** The moves from which the search goes on, where the whole way would be long. */
  readonly after?: readonly string[];
  /** What must be found, one of these. */
  readonly bad: readonly (keyof typeof Bad)[];
}

/** The old row 3: the newest sample of a data batch that can be judged decides. */
const newestSample: Rules["wentBack"] = ({ replicaEnd, committed, base, replica, start, log }) => {
  if (replicaEnd > committed) return true;
  for (let o = replicaEnd - 1; o >= base && base !== NONE; o--)
    if (replica[o] !== 0 && o >= start && log[o] !== 0) return replica[o] !== log[o];
  return false;
};
const oldRow8: Rules["fellBack"] = ({ start, first }, next) => next < start && next >= first;
const plainSkips: Partial<Rules> = {
  skippingClaims: () => false,
  continues: (entry, push) => push.expected === entry.next && push.previous === entry.last,
};
const OLD_ROW_3: Partial<Rules> = {
  wentBack: newestSample,
  mustKnow: () => false,
  fellBack: oldRow8,
  passedAfter: (passed) => passed,
};

/** Rules of the first text where it was wrong in W4, W6 and W9 only; its figures are in the review of that text. */
export const REVIEWED: Rules = {
  ...RULES,
  ...OLD_ROW_3,
  ...plainSkips,
  grantTrims: () => false,
  doubtFromAtDraw: (before) => before,
  toldSince: (since, isKnown, forgottenAt, logStart, isRefused) =>
    !isKnown || (isRefused && forgottenAt > 0) ? logStart : since,
};

export const WRONG_RULES: readonly WrongRule[] = [
  {
    name: "W1: a claimer looks up to the end that its join told",
    rules: { reach: (_readTo, toldAtJoin) => toldAtJoin },
    given: { budgets: { append: 2, ...COPIED, foreign: 1, compact: 1 } },
    after: ["A: append", "A: backup of the profile"],
    bad: ["TWICE"],
  },
  {
    name: "W2: nothing was ever taken below settledIn",
    rules: {
      lower: ({ settledIn, base }, appendedAt) =>
        Math.max(base === NONE ? 0 : settledIn, appendedAt === NONE ? 0 : appendedAt),
    },
    given: { budgets: { append: 2, ...COPIED, foreign: 1, compact: 1 } },
    after: ["A: append", "A: append", "A: join"],
    bad: ["TWICE"],
  },
  {
    name: "W3: a T2 trim takes all that was told",
    rules: { trimForTaken: (takenTo) => takenTo, flushesBeforeTrim: () => false },
    given: { budgets: { append: 2, cut: 1, crash: 1, foreign: 1, compact: 1 } },
    bad: ["NOWHERE"],
  },
  {
    name: "W4a: samples of data alone show that the edge went back",
    rules: OLD_ROW_3,
    given: { budgets: { append: 2, crash: 1, ...PUT_BACK, foreign: 2, compact: 1 } },
    bad: ["LOST"],
  },
  {
    name: "W4b: the newest sample that agrees wins",
    rules: OLD_ROW_3,
    given: { budgets: { append: 2, ...PUT_BACK, foreign: 1, ...COPIED }, positions: 1, offsets: 3 },
    after: ["A: backup of the profile", "A: append", "A: join", "A: push", "B: a copy is opened", "B: append"],
    bad: ["LOST", "DIFFERS"],
  },
  {
    name: "W4c: fillers are no samples",
    rules: { ...OLD_ROW_3, mustKnow: RULES.mustKnow },
    given: { budgets: { append: 2, crash: 1, ...PUT_BACK, foreign: 2, compact: 1 } },
    bad: ["DIFFERS", "LOST"],
  },
  {
    name: "W4d: a noted gap above the log's start says nothing",
    rules: OLD_ROW_3,
    given: { budgets: { append: 2, cut: 1, crash: 1, ...PUT_BACK, foreign: 2, trim: 1 } },
    bad: ["DIFFERS", "LOST"],
  },
  {
    name: "W4e: all samples count, and what is trimmed at the edge says nothing",
    rules: {
      ...OLD_ROW_3,
      mustKnow: RULES.mustKnow,
      wentBack({ replicaEnd, committed, base, replica, start, log, gaps }) {
        if (replicaEnd > committed) return true;
        for (let o = base === NONE ? replicaEnd : base; o < replicaEnd; o++) {
          if (o < start) continue;
          const isGap = ((gaps >> o) & 1) === 1;
          if (isGap) return true;
          if (log[o] !== 0 && log[o] !== replica[o]) return true;
        }
        return false;
      },
      fellBack: (held, next) => oldRow8(held, next) || RULES.fellBack({ ...held, noteNext: NONE }, next),
    },
    given: { budgets: { append: 2, cut: 1, crash: 1, ...PUT_BACK, foreign: 2, trim: 1 } },
    after: ["A: append", "A: join"],
    bad: ["LOST", "DIFFERS"],
  },
  {
    name: "W5: row 7 at next = first",
    rules: {
      isForeign: (held, next, last) =>
        RULES.isForeign(held, next, last) || (next === held.first && next >= held.start && held.noteNext === NONE),
    },
    given: { budgets: { append: 1, foreign: 1, trim: 1 }, needless: true },
    bad: ["NEEDLESS"],
  },
  {
    name: "W6: a plain push leaves positions out",
    rules: plainSkips,
    given: { budgets: { append: 3, ...COPIED, discard: 1 }, ownChoice: true },
    bad: ["NOWHERE", "LOST"],
  },
  {
    name: "W7: an id is left without a trim",
    rules: { leavingTrims: () => false },
    given: { budgets: { append: 2, crash: 1, foreign: 1, ...COPIED }, latest: true },
    bad: ["ENDLESS"],
  },
  {
    name: "W8: the log's end counts what is queued",
    rules: { told: (_committed, queued) => queued },
    given: { budgets: { append: 1, reset: 1, foreign: 2, ...COPIED }, queue: true, latest: true },
    bad: ["TWICE"],
  },
  {
    name: "W9: an edge below the outbox's start went back",
    rules: { fellBack: oldRow8 },
    given: { budgets: { append: 2, cut: 1, crash: 1, discard: 1 }, falseStop: true },
    bad: ["FALSE_STOP"],
  },
  {
    name: "L1: taken stays taken over a join",
    rules: { keepsTaken: () => true, ...OLD_ROW_3 },
    given: { budgets: { append: 2, cut: 1, crash: 1, foreign: 1, ...PUT_BACK } },
    bad: ["LOST"],
  },
  {
    name: "L2: refused joins settle positions",
    rules: { refusalsSettle: () => true },
    given: { budgets: { append: 3, ...COPIED } },
    bad: ["LOST", "NOWHERE"],
  },
  {
    name: "L4: a higher generation is taken without raising, terms compared by themselves",
    rules: {
      raise: (entry, asked) =>
        entry.generation > asked.generation || (entry.generation === asked.generation && entry.term > asked.term)
          ? undefined
          : entry.generation === asked.generation
            ? asked
            : entry,
      isFenced: (entry, asked) => asked.generation < entry.generation || entry.term > asked.term,
      ...OLD_ROW_3,
    },
    given: { budgets: { append: 2, ...PUT_BACK, ...COPIED } },
    bad: ["ENDLESS"],
  },
  {
    name: "L5: the lower bound begins at the replica's base",
    rules: {
      settledInAtFirst: (base) => base,
      lower: ({ settledIn, base }, appendedAt) =>
        Math.max(base === NONE ? 0 : settledIn, appendedAt === NONE ? 0 : appendedAt),
    },
    given: { budgets: { append: 2, foreign: 1, trim: 1, ...COPIED } },
    bad: ["TWICE"],
  },
  {
    name: "no checksum at join",
    rules: { isForeign: () => false },
    given: { budgets: { append: 3, ...COPIED }, frame: 2 },
    bad: ["LOST", "NOWHERE"],
  },
  {
    name: "a claim without readTo",
    rules: { grants: (entry, readTo, forgottenAt) => entry.known === 1 || readTo >= forgottenAt },
    given: { budgets: { append: 2, ...COPIED } },
    bad: ["TWICE"],
  },
  {
    name: "an unknown outbox is taken for new",
    rules: {
      register: ({ registered, first, firstUnsettled }) => (registered ? firstUnsettled : first),
      mustKnow: () => false,
    },
    given: { budgets: { append: 2, cut: 1, crash: 1, ...COPIED, forget: 1 } },
    bad: ["TWICE"],
  },
  {
    name: "the edge forgets in silence",
    rules: { forgottenAtAfter: () => 0, mustKnow: () => false },
    given: { budgets: { append: 2, cut: 1, crash: 1, ...COPIED, forget: 1 } },
    bad: ["TWICE"],
  },
  { name: "settled by ok", rules: { settlesAtOk: () => true }, given: { budgets: { append: 1 } }, bad: ["NOWHERE"] },
  {
    name: "several records: a thinned batch is not known again",
    rules: { showsBatch: (present, records) => present === records },
    given: { budgets: { append: 1, foreign: 1, compact: 1, cut: 1, crash: 1 }, wide: true },
    bad: ["BOTH", "NOWHERE"],
  },
  {
    name: "several records: next moves by batches",
    rules: { nextAfter: (at, _records, batches) => at + batches },
    given: { budgets: { append: 2, cut: 1, crash: 1 }, wide: true },
    bad: ["TWICE", "ENDLESS", "NOWHERE"],
  },
  {
    name: "registry: a join that raises the term is in memory only",
    rules: { raiseIsDurable: () => false },
    given: { budgets: { append: 1, crash: 1, reset: 1 }, registry: true },
    bad: ["FELL"],
  },
  {
    name: "registry: an entry leaves memory without its row",
    rules: { evictionWritesRow: () => false },
    given: { budgets: { append: 1, cut: 1, evict: 1 }, registry: true },
    bad: ["FELL", "TWICE"],
  },
  {
    name: "registry: a snapshot of what is queued",
    rules: { snapshotOf: (_written, queued) => queued },
    given: { budgets: { append: 1, reset: 1, seal: 1 }, registry: true, queue: true },
    bad: ["ENDLESS", "FELL"],
  },
  {
    name: "registry: on waking the row is the truth",
    rules: { merge: (one, other) => (one.known ? one : other) },
    given: { budgets: { append: 1, reset: 1 }, registry: true, queue: true },
    bad: ["TWICE", "FELL"],
  },
  {
    name: "registry: on waking the newest next brings its term along",
    rules: { merge: (one, other) => (!other.known || (one.known && other.next < one.next) ? one : other) },
    given: { budgets: { append: 2, crash: 1, reset: 1 }, registry: true, window: 2 },
    bad: ["FELL"],
  },
  {
    name: "a claim: what is found below the replica, behind an un-settled position, is only remembered",
    rules: { grantNotesFound: () => false },
    given: { budgets: { append: 2, crash: 1, discard: 1, ...COPIED }, latest: true, ownChoice: true },
    bad: ["TWICE"],
  },
  {
    name: "retry: once asked, all that is in doubt is sent again",
    rules: { sentAgain: (named, inDoubt) => (named === 0 ? 0 : inDoubt) },
    given: { budgets: { append: 2, cut: 1, crash: 1, foreign: 2, compact: 2, forget: 1, retry: 1 }, frame: 2 },
    after: [
      "A: append",
      "A: join",
      "A: push",
      "a frame arrives (0)",
      "somebody else appends",
      "the edge compacts an offset away",
      "the edge forgets an outbox",
      "A: crash, frames are lost",
      "A: join",
      "A: follow to the end",
      "A: claim",
      "A: append",
    ],
    bad: ["TWICE"],
  },
  {
    name: "late answers: one of a former connection counts",
    rules: { answersFormerConnections: () => true, ...OLD_ROW_3 },
    given: { budgets: { append: 1, cut: 1, foreign: 1, ...PUT_BACK }, late: true },
    bad: ["LOST"],
  },
  {
    name: "late answers: one of a former id counts",
    rules: { answersFormerIds: () => true, answersFormerConnections: () => true },
    given: { budgets: { append: 2, ...COPIED }, late: true, falseStop: true },
    bad: ["FALSE_STOP", "LOST", "TWICE", "NOWHERE"],
  },
  {
    name: "three copies: an outbox with fresh batches only is taken for new",
    rules: {
      register: ({ registered, first, isFresh }, forgottenAt) =>
        !registered && (forgottenAt === 0 || isFresh) ? first : undefined,
    },
    given: { budgets: { append: 2, cut: 1, crash: 1, forget: 1, backup: 1, copy: 2 }, devices: 3 },
    after: [
      "A: append",
      "A: backup of the profile",
      "B: a copy is opened",
      "B: join",
      "B: push",
      "a frame arrives (0)",
      "the edge forgets an outbox",
      "C: a copy is opened",
    ],
    bad: ["TWICE"],
  },
];

/** Whether what was found is what the wrong rule does. */
export const isFound = ({ bad }: WrongRule, violation: { readonly what: string } | undefined): boolean =>
  violation !== undefined && bad.some((each) => violation.what.startsWith(BAD_NAMES[Bad[each]]));
