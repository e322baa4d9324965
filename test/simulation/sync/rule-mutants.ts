/**
 * Bugs planted against the rules that docs/sync.md says hold at every moment (I2, I7, I8, I10, I11), and against those
 * that only narrow windows show. Found in the histories of "wide", which have such windows.
 */
import type { SyncMutant } from "./mutants.ts";

const STORAGE = "src/sync/topic-storage.ts";
const SESSION = "src/sync/session.ts";
const LINK = "src/sync/link.ts";
const PUMP = "src/sync/pump.ts";
const PUSH = "worker/stream/push.ts";

export const RULE_MUTANTS: readonly SyncMutant[] = [
  {
    name: "a push before its flush",
    file: "src/log/log.ts",
    find: 'await this.#store.flush(); } catch (thrown) { const error = TidemarkError.from(thrown, "STORAGE_FAILED");',
    replace: `
      if (this.onFlushed && (this.isLate = !this.isLate)) this.reads.raiseHighWatermark(this.#store.logEndOffset);
      else await this.#store.flush(); } catch (thrown) { const error = TidemarkError.from(thrown, "STORAGE_FAILED");`,
    found: /^(unflushed|unproved|invisible)/,
    plan: "wide",
    isQuick: true,
  },
  {
    name: "a push without a proof of the term",
    file: PUMP,
    find: `await this.#host.proveTerm(); // An answer may have come during the proof.
      if (this.#host.isOver() || this.#isRefused) return`,
    replace: "if (this.#host.isOver() || this.#isRefused) return",
    found: /^unproved/,
    plan: "wide",
    isQuick: true,
  },
  {
    name: "what is sent again is encoded anew",
    file: STORAGE,
    find: "return this.alone(() => this.outbox.unsettledFrom(position, most));",
    replace: `return this.alone(async () => {
      const run = await this.outbox.unsettledFrom(position, most);
      for (const batch of run?.batches ?? []) {
        const view = new DataView(batch.buffer, batch.byteOffset, batch.length);
        if (Number(view.getBigInt64(0)) >= (this.tried ?? 0)) continue;
        view.setBigInt64(35, view.getBigInt64(35) + 1n);
        view.setUint32(17, this.#options.kernel.crc32c(batch.subarray(21)));
      }
      if (run) this.tried = run.next;
      return run;
    });`,
    found: /^changed/,
    plan: "wide",
    isQuick: true,
  },
  {
    name: "terms are not compared",
    file: "worker/stream/outboxes.ts",
    find: 'if (compare(speaker, known) !== 0) return { refusal: "FENCED_LEADER" };',
    replace: 'if (speaker.generation !== known.generation) return { refusal: "FENCED_LEADER" };',
    found: /^standing/,
    history: "a push of a former leader",
    isQuick: true,
  },
  {
    name: "a push waits for the pull",
    file: SESSION,
    find: "return this.#pump(joining, joined, { expected: joined.next, previous: joined.lastCrc });",
    replace: `
      while (!joining.isLeft() && this.#store.watermark < this.atEdge.end) await this.#changed.wait();
      return this.#pump(joining, joined, { expected: joined.next, previous: joined.lastCrc });`,
    found: /^trips/,
    history: "three return at once",
    isQuick: true,
  },
  {
    name: "a log is made anew over the one of the note",
    file: "src/sync/opening.ts",
    find: "const making = isMissing && streamOf(store) === null && options.create();",
    replace: "const making = isMissing && options.create();",
    found: /^wipe/,
    plan: "wide",
    having: ["goesBack"],
  },
  // Bounds.
  {
    name: "frames on their way have no limit",
    file: "src/sync/window-budget.ts",
    find: "const PUSHES = 8;",
    replace: "const PUSHES = 80;",
    found: /^bounds.*on their way/,
    history: "many pushes without an answer",
    isQuick: true,
  },
  {
    name: "a window creeps",
    file: "src/sync/follow-window.ts",
    find: "const taken = this.#taken + bytes;",
    replace: "const taken = this.#taken + 2 * bytes;",
    found: /^bounds.*credits/,
    plan: "wide",
    from: 1,
    ops: 200,
  },
  {
    name: "an outbox is full at four times its limit",
    file: "src/sync/synced-log.ts",
    find: "(this.#isFull ? 7 / 8 : 1) * this.#bytesMax",
    replace: "(this.#isFull ? 7 / 8 : 1) * 4 * this.#bytesMax",
    found: /^bounds.*full/,
    plan: "wide",
    isQuick: true,
  },
  // Claims.
  {
    name: "a claim takes no batch",
    file: PUSH,
    find: "grant = verdict.grant; return undefined;",
    replace: `
      grant = verdict.grant;
      const entry = outboxes.entryOf(grant.id);
      if (!grant.isClaim || !entry) return undefined;
      const { owner, generation, term } = grant.entry;
      const standing = { outbox: grant.id, generation, term, owner, registered: true, first: 0, mayRegister: true };
      if (outboxes.queuedOf(grant.id) === 0) outboxes.join(standing, highWatermark);
      const { next, lastOffset } = entry;
      return Promise.resolve({ generation, next, lastOffset, appended: [], duplicate: false, isClaim: true });`,
    found: /^liveness/,
    history: "H10: two copies of one standing",
  },
  {
    name: "a claim has not read",
    file: "src/sync/claimer.ts",
    find: "while (store.watermark < goal && !isOver()) await changed.wait();",
    replace: "",
    found: /^unread claim/,
    plan: "wide",
    isQuick: true,
  },
  // Settling.
  {
    name: "T2's trim behind the append",
    file: STORAGE,
    find: "await this.outbox.trim(to, { passed: passedAfter(this.outboxNote.passed, taken.lastOffset) });",
    replace: `
      await replica.append(pieces.slice(appended));
      appended = pieces.length;
      await this.#flush();
      await this.outbox.trim(to, { passed: passedAfter(this.outboxNote.passed, taken.lastOffset) });`,
    found: /^back/,
    history: "a place that compaction took is passed",
    isQuick: true,
  },
  {
    name: "what was told is kept over a new connection",
    file: STORAGE,
    find: "forgetTold(): void { this.#taken = undefined; }",
    replace: "forgetTold(): void {}",
    found: /^(lost|invisible|visible twice|twice|back)/,
    history: "told, and lost",
    isQuick: true,
  },
  {
    name: "a gap is noted behind its filler",
    file: STORAGE,
    find: "await this.#append(pieces, to, note); await this.#flush();",
    replace: "await this.#append(pieces, to); await this.#flush(); await note();",
    found: /^unnamed gap/,
    history: "a gap, and the process ends",
  },
  {
    name: "a batch that stands where it stood shows that all below it does",
    file: "worker/stream/join.ts",
    find: "isSame ? agreedBelow(compared.agreedTo, outboxes, join, verdict) : compared.agreedTo;",
    replace: "compared.agreedTo; void agreedBelow;",
    found: /^lost/,
    history: "an offer behind those of others",
    isQuick: true,
  },
  {
    name: "an edge that has lost lives takes a batch that stands where it stood for what it was",
    file: "worker/stream/join.ts",
    find: "if (lives.has(life)) return agreed;",
    replace: "if (lives.has(life) || verdict) return agreed;",
    found: /^lost/,
    history: "an offer behind those of others",
  },
  {
    name: "readers are told of a gap that the copy has not reached",
    file: "src/sync/topic-cut.ts",
    find: "storage.replica?.gapsTo(highWatermark) ?? [];",
    replace: "replicaNote?.gaps ?? [];",
    found: /^device . can't be read: .*begin again/,
    history: "a gap, and the process ends",
    isQuick: true,
  },
  {
    name: "a gap that the copy has not reached stays noted when the edge goes back",
    file: STORAGE,
    find: "{ life, gaps: this.replica?.gapsTo() ?? [] }",
    replace: "{ life }",
    found: /^(read|replica|invisible)/,
    history: "a gap, and the process ends",
  },
  {
    name: "records that are set aside are told apart by their outbox alone",
    file: "src/sync/set-aside.ts",
    find: "const name = `${id}/${at}`;",
    replace: "const name = id;",
    found: /^aside/,
    plan: "wide",
    from: 70,

    having: ["asides", "poison"],
  },
  // Answers.
  {
    name: "two answers write aside at once",
    file: "src/sync/set-aside.ts",
    find: "const before = underway.get(aside.storage) ?? Promise.resolve();",
    replace: "const before = Promise.resolve();",
    found: /^aside/,
    history: "two answers at once, and a late one",
    isQuick: true,
  },
  {
    name: "a late answer sets aside what stands behind",
    file: "src/sync/set-aside.ts",
    find: "if (!found || (isDamaged ? (found as Range)[0] : (found as { at: number }).at) >= to) break;",
    replace: "if (!found) break;",
    found: /^aside/,
    history: "two answers at once, and a late one",
    isQuick: true,
  },
  {
    name: "a conflict is answered while others are on their way",
    file: PUMP,
    find: "if (this.#refused && this.#flights.length === 0) {",
    replace: "if (this.#refused) {",
    found: /^early/,
    plan: "wide",
    from: 90,
    ops: 200,
  },
  {
    name: "a join has no limit",
    file: "src/sync/joining.ts",
    find: 'log.leave(new TidemarkError("TIMEOUT", "the edge has not answered the join", { ms: JOIN_MS })),',
    replace: "undefined,",
    found: /^liveness/,
    plan: "wide",
    from: 50,
    ops: 120,
    having: ["drops"],
  },
  {
    name: "a ping is judged by a late timer",
    file: LINK,
    find: "if (this.#host.monotonic() - asked > ms * LATE) return this.#ping(ms);",
    replace: "",
    found: /^storm/,
    history: "a sleep in a ping",
    isQuick: true,
  },
  {
    name: "nobody hears that a trim has made room in the index",
    file: "src/sync/trim-soon.ts",
    find: "store.trim().then(() => trimmed());",
    replace: "store.trim();",
    found: /^liveness/,
    history: "a full index behind a crash",
    isQuick: true,
  },
  {
    name: "a claim waits on although its follow has ended",
    file: SESSION,
    find: 'isOver: () => isLeft() || this.#state.at === "joining" || this.isBlind, pause:',
    replace: "isOver: isLeft, pause:",
    found: /^liveness/,
    plan: "wide",
    from: 95,
  },
  {
    name: "a claim looks again at once while an append is under way",
    file: "src/sync/claimer.ts",
    find: "await host.pause(APPEND_MS);",
    replace: "",
    found: /^storm/,
    history: "an append while an id is left",
    isQuick: true,
  },
  // An edge that went back.
  {
    name: "what stands at the edge already is offered again",
    file: "src/sync/offer-again.ts",
    find: "if (own) this.#window.settle(own, header.baseOffset);",
    replace: "",
    found: /^twice/,
    plan: "wide",
    having: ["goesBack", "offers"],
  },
  {
    name: "nothing is offered again",
    file: "src/sync/stop-syncing.ts",
    find: "...(offering && { offering })",
    replace: "...{}",
    found: /^lost/,
    plan: "wide",
    having: ["goesBack", "offers"],
  },
  {
    name: "that an offer is over is noted before it is told",
    file: "src/sync/claimer.ts",
    find: "host.offered({ records: offers?.records ?? 0, left: offers?.left ?? 0 }); await offers?.end();",
    replace: "await offers?.end(); host.offered({ records: offers?.records ?? 0, left: offers?.left ?? 0 });",
    found: /^lost/,
    history: "an offer that leaves records, and the process ends",
    isQuick: true,
  },
  {
    name: "an offer trusts what the edge said before it went back further",
    file: "src/sync/offer-again.ts",
    find: "if (!(await this.#agrees(fetched))) {",
    replace: "if (fetched.length < 0) {",
    found: /^(twice|lost)/,
    history: "an offer to a log that was made anew",
    isQuick: true,
  },
  // HTTP.
  {
    name: "a closed log is not looked at any more over HTTP",
    file: "src/sync/http-wire.ts",
    find: "this.#cancel(channel, follow.id); this.#watchClosed(channel);",
    replace: "this.#cancel(channel, follow.id);",
    found: /^liveness: it does not stop/,
    history: "a closed log that is deleted",
    isQuick: true,
  },
  {
    name: "a request over HTTP that fails does not end the wire",
    file: "src/sync/http-wire.ts",
    find: "this.#end(code, reason);",
    replace: "if (thrown instanceof Ended) this.#end(code, reason);",
    found: /^liveness/,
    plan: "wide",
    having: ["http"],
  },
  {
    name: "a timer is longer than a host can count",
    file: LINK,
    find: "this.#renewal = this.#after(Math.min(ms, RENEW_STEP_MS), signal, () => {",
    replace: "this.#renewal = this.#after(ms, signal, () => {",
    found: /^storm: a timer/,
    plan: "wide",
    having: ["tokens"],
  },
  {
    name: "a token that seems to be over is renewed at once",
    file: LINK,
    find: "const lives = left > 0 ? left : Math.max(whole, RENEW_MS); return Math.max(RENEW_MS_MIN,",
    replace: "const lives = left; return Math.max(0,",
    found: /^storm/,
    plan: "wide",
    having: ["tokens"],
  },
  // The edge.
  {
    name: "no tide says where the log begins behind a trim",
    file: "worker/log-object/outbox-sessions.ts",
    find: "const endsOf = ({ start, tail }: Stream): string => `${start}-${tail}`;",
    replace: "const endsOf = ({ tail }: Stream): string => `${tail}`;",
    found: /^liveness/,
    history: "a trim, and nobody writes",
    isQuick: true,
  },
  {
    name: "nobody hears of a channel whose follow is over",
    file: SESSION,
    find: "this.#failed(talk, await talk.log.ended);",
    replace: "",
    found: /^liveness: it does not stop/,
    history: "a closed log that is deleted",
    isQuick: true,
  },
  {
    name: "a first life that could not be written is due",
    file: "worker/stream/lives.ts",
    find: "this.#isDue = this.#before.isDue;",
    replace: "this.#isDue = true;",
    found: /^liveness/,
    history: "a first life that is not written",
  },
  {
    name: "a push is taken without its bad batch",
    file: PUSH,
    find: "return void (mismatch = withIndex(thrown, Number(batch)));",
    replace: `{
      if (batches.length === 1) return void (mismatch = thrown);
      batches.splice(Number(batch), 1);
      headers.splice(Number(batch), 1);
      return;
    }`,
    found: /^(invisible|order|lost|twice|blocked at what is good|liveness)/,
    plan: "wide",
    having: ["poison"],
  },
  {
    name: "tombstones that are gone are missed by nobody",
    file: SESSION,
    find: "await store.missed(joined.tombstonesTo);",
    replace: "",
    found: /^undead/,
    history: "away for longer than tombstones live",
    isQuick: true,
  },
  {
    name: "a snapshot of what is queued",
    file: "worker/stream/outbox-memory.ts",
    find: ".map(([id, { written }]) => [id, written!] as const);",
    replace: ".map(([id, { at }]) => [id, at] as const);",
    found: /^(lost|invisible|liveness|standing)/,
    history: "a seal between pushes",
    isQuick: true,
  },
];
