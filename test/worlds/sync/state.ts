/**
 * The state of a small world of sync: up to three volumes with what their leaders remember, one edge log with its
 * registry, the frames and answers between them, and how much of each budget is spent. Small numbers only, so that a
 * state is a few hundred bytes and each byte string is one state.
 *
 *   volume  ── opened ──▶ memory ── frames ──▶ edge ── answers ──▶ memory
 *      └── backup ──▶ another volume               └── backup ──▶ the edge, put back
 *
 * A batch is a number from 1 on; 100 and more are batches that others wrote. Bits of a mask are positions or offsets.
 * `truth` and `history` are what nobody in the world sees: which batch ever stood at an offset.
 */
export const NONE = 255;
export const FOREIGN = 100;
/** Outbox ids, frames in the air, answers on their way, lives of the edge: more does not fit a state. */
export const IDS = 4;
export const FRAMES = 3;
export const ANSWERS = 3;
export const LIVES = 3;

/** What is on the device's disk. */
export interface Volume {
  opened: number;
  term: number;
  start: number;
  end: number;
  /** By position. A batch of two records stands there twice. */
  outbox: number[];
  retracted: number;
  /** 0: none is drawn. */
  id: number;
  generation: number;
  registered: number;
  first: number;
  noteNext: number;
  noteLast: number;
  settledIn: number;
  doubtFrom: number;
  passed: number;
  /** NONE: there is no replica. */
  base: number;
  replicaEnd: number;
  /** By offset; 0: no record. */
  replica: number[];
  truth: number[];
  gaps: number;
  life: number;
}

export const Need = { IDLE: 0, JOIN: 1, CLAIM: 2, BLOCKED: 3, STOPPED: 4 } as const;

/** What its leader remembers, until it crashes. */
export interface Memory {
  joined: number;
  need: number;
  /** A join's answer is on its way. */
  asking: number;
  /** Where the replica must be before a claim. */
  goal: number;
  settled: number;
  takenTo: number;
  takenBy: number;
  expected: number;
  previous: number;
  inFlight: number;
  /** By position: the watermark at its append; NONE: of an earlier opening. */
  appendedAt: number[];
  toldNext: number;
  toldLast: number;
  since: number;
  logStart: number;
  /** Positions that a person was asked about, and those that he said to send again. */
  named: number;
  again: number;
}

export interface Entry {
  known: number;
  since: number;
  generation: number;
  term: number;
  next: number;
  lastOffset: number;
  last: number;
}

export interface Frame {
  device: number;
  /** 0: of the device's connection of now. */
  connection: number;
  claim: number;
  id: number;
  generation: number;
  term: number;
  expected: number;
  previous: number;
  at: number;
  /** Records. */
  count: number;
  batches: number[];
  readTo: number;
}

/** What the edge said and the device has not read yet. */
export interface Answer {
  device: number;
  /** Of a join, a push, a claim. */
  kind: number;
  /** Of the id that asked: answers of a former one are of no use. */
  id: number;
  code: number;
  at: number;
  count: number;
  last: number;
  lastOffset: number;
  generation: number;
  next: number;
  since: number;
  start: number;
  end: number;
  forgottenAt: number;
  back: number;
  life: number;
}

export interface Edge {
  end: number;
  committed: number;
  log: number[];
  history: number[];
  start: number;
  entries: Entry[];
  committedEntries: Entry[];
  forgottenAt: number;
  forgottenGeneration: number;
  lives: number[];
  began: number[];
  livesKnown: number;
  /** Registry on disk: the table's rows, the snapshot of the last seal, what the data's rows say since. */
  rows: Entry[];
  snapshot: Entry[];
  origins: Entry[];
  /** Ids whose entry is in memory. */
  hot: number;
}

export interface State {
  volumes: Volume[];
  memories: Memory[];
  edge: Edge;
  edgeBackup: Edge | undefined;
  backup: Volume | undefined;
  air: Frame[];
  answers: Answer[];
  idsDrawn: number;
  batchesMade: number;
  /** By batch: it has two records. */
  wide: number;
  /** Batches that some device set aside or discarded; batches that a person sent again. */
  retractedBatches: number;
  repeatedBatches: number;
  /** The highest standing and next that anybody was told, by id: [generation, term, next]. */
  told: number[];
  spent: number[];
}

export interface Space {
  readonly devices: number;
  readonly positions: number;
  readonly offsets: number;
}

const filled = (length: number, value: number): number[] => new Array<number>(length).fill(value);
export const noEntry = (): Entry => ({ known: 0, since: 0, generation: 0, term: 0, next: 0, lastOffset: 0, last: 0 });
const noEntries = (): Entry[] => Array.from({ length: IDS }, noEntry);

export const newVolume = ({ positions, offsets }: Space): Volume => ({
  opened: 0,
  term: 0,
  start: 0,
  end: 0,
  outbox: filled(positions, 0),
  retracted: 0,
  id: 0,
  generation: 1,
  registered: 0,
  first: 0,
  noteNext: NONE,
  noteLast: 0,
  settledIn: 0,
  doubtFrom: 0,
  passed: 0,
  base: NONE,
  replicaEnd: 0,
  replica: filled(offsets, 0),
  truth: filled(offsets, 0),
  gaps: 0,
  life: 0,
});

export const newMemory = ({ positions }: Space): Memory => ({
  joined: 0,
  need: Need.JOIN,
  asking: 0,
  goal: 0,
  settled: 0,
  takenTo: 0,
  takenBy: NONE,
  expected: 0,
  previous: 0,
  inFlight: 0,
  appendedAt: filled(positions, NONE),
  toldNext: NONE,
  toldLast: 0,
  since: 0,
  logStart: 0,
  named: 0,
  again: 0,
});

export const newState = (space: Space, budgets: number): State => ({
  volumes: Array.from({ length: space.devices }, () => newVolume(space)),
  memories: Array.from({ length: space.devices }, () => newMemory(space)),
  edge: {
    end: 0,
    committed: 0,
    log: filled(space.offsets, 0),
    history: filled(space.offsets, 0),
    start: 0,
    entries: noEntries(),
    committedEntries: noEntries(),
    forgottenAt: 0,
    forgottenGeneration: 0,
    lives: [1, ...filled(LIVES - 1, 0)],
    began: filled(LIVES, 0),
    livesKnown: 1,
    rows: noEntries(),
    snapshot: noEntries(),
    origins: noEntries(),
    hot: 0,
  },
  edgeBackup: undefined,
  backup: undefined,
  air: [],
  answers: [],
  idsDrawn: 0,
  batchesMade: 0,
  wide: 0,
  retractedBatches: 0,
  repeatedBatches: 0,
  told: filled(3 * IDS, 0),
  spent: filled(budgets, 0),
});

export const cloneVolume = (from: Volume): Volume => ({
  ...from,
  outbox: from.outbox.slice(),
  replica: from.replica.slice(),
  truth: from.truth.slice(),
});
const cloneMemory = (from: Memory): Memory => ({ ...from, appendedAt: from.appendedAt.slice() });
/** Entries are never changed in place. */
export const cloneEdge = (from: Edge): Edge => ({
  ...from,
  log: from.log.slice(),
  history: from.history.slice(),
  entries: from.entries.slice(),
  committedEntries: from.committedEntries.slice(),
  lives: from.lives.slice(),
  began: from.began.slice(),
  rows: from.rows.slice(),
  snapshot: from.snapshot.slice(),
  origins: from.origins.slice(),
});

/** Backups, frames and answers are never changed in place, so copies share them. */
export const cloneState = (from: State): State => ({
  ...from,
  volumes: from.volumes.map((volume) => (volume.opened ? cloneVolume(volume) : volume)),
  memories: from.memories.map((memory, device) => (from.volumes[device]!.opened ? cloneMemory(memory) : memory)),
  edge: cloneEdge(from.edge),
  air: from.air.slice(),
  answers: from.answers.slice(),
  told: from.told.slice(),
  spent: from.spent.slice(),
});
