/**
 * A file of lines that an export fills, and goes on with after it was stopped or killed. Beside OUT lies
 * OUT.tidemark-export.json: what is exported, how many bytes of OUT are good, and which offset comes next. The state
 * is written after those bytes are synced, and removed at the end. gzip files are made of members, one for each such
 * step; any gunzip reads them as one.
 */
import { closeSync, existsSync, fsyncSync, ftruncateSync, openSync, statSync, writeSync } from "node:fs";
import path from "node:path";
import { gzipSync } from "node:zlib";
import { Failure } from "./failure.ts";
import { identityOf } from "./identity.ts";
import { withFileName, StateFile } from "./whole-file.ts";

/** After this many bytes of lines the file is synced and the state is written. */
const STEP_BYTES = 1024 * 1024;

/** What is exported, as the call says it. */
export interface Asked {
  readonly target: string;
  readonly topic: string;
  /** The option --from. */
  readonly from: string;
}

/** What lies beside a file of lines that is not whole yet. */
export interface ExportState extends Asked {
  readonly bytes: number;
  readonly nextOffset: number;
  readonly end: number;
  readonly records: number;
  /** First and last offsets of what was trimmed before it was read. */
  readonly missing: readonly (readonly [first: number, last: number])[];
}

/**
 * Earlier versions wrote neither `from` nor `missing`: then `asked` says the one, and the other is not known. An offset
 * of -1 of theirs says that nothing was read yet.
 */
function readState({ file, text }: StateFile, asked: Asked): ExportState | undefined {
  if (text === undefined) return undefined;
  try {
    const read = JSON.parse(text) as Partial<ExportState>;
    const isEarlier = read.from === undefined && read.missing === undefined;
    const state = { ...read, ...(isEarlier && { from: asked.from, missing: [] }) } as ExportState;
    const { target, topic, from, bytes, nextOffset, end, records, missing } = state;
    const isNothing = isEarlier && nextOffset === -1 && bytes === 0 && records === 0;
    const isSound =
      [target, topic, from].every((text) => typeof text === "string") &&
      [bytes, end, records, isNothing ? 0 : nextOffset].every((count) => Number.isSafeInteger(count) && count >= 0) &&
      Array.isArray(missing);
    if (isSound) return state;
  } catch {
    // Refused below.
  }
  throw new Failure(`${file} is no state file of an export: remove it, and the file beside it, or name another file`);
}

export class LineFile {
  readonly #file: string;
  readonly #fd: number;
  readonly #stateFile: StateFile;
  readonly #isPacked: boolean;
  #state: ExportState;
  #lines: string[] = [];
  #pending = 0;

  private constructor(file: string, stateFile: StateFile, state: ExportState) {
    this.#file = file;
    this.#stateFile = stateFile;
    this.#state = state;
    this.#isPacked = file.endsWith(".gz");
    this.#fd = openSync(file, existsSync(file) ? "r+" : "w+");
    ftruncateSync(this.#fd, state.bytes);
  }

  /**
   * Goes on where an earlier call stopped, or begins with what `fresh` gives. Failure: the file is another one, or was
   * begun by another call.
   */
  static async open(
    file: string,
    asked: Asked,
    fresh: () => Promise<{ start: number; end: number }>,
  ): Promise<LineFile> {
    const stateFile = new StateFile(`${file}.tidemark-export.json`);
    const state = readState(stateFile, asked);
    if (!state) {
      if (existsSync(file)) throw new Failure(`${file} is there already: name another file, or remove it`);
      const folder = path.dirname(path.resolve(file));
      if (!existsSync(folder)) throw new Failure(`${file}: there is no folder ${folder}`);
      const { start, end } = await fresh();
      const begun = { ...asked, bytes: 0, nextOffset: start, end, records: 0, missing: [] };
      stateFile.write(JSON.stringify(begun));
      return new LineFile(file, stateFile, begun);
    }
    if (identityOf(state.target) !== identityOf(asked.target) || state.topic !== asked.topic)
      throw new Failure(
        `${file} was begun as an export of ${state.topic} in ${state.target}: remove it, or name another`,
      );
    if (state.from !== asked.from)
      throw new Failure(
        `${file} was begun with --from ${state.from}: give that again, or remove ${stateFile.file} and the file, ` +
          `or name another`,
      );
    if (state.nextOffset < 0) {
      const { start, end } = await fresh();
      return new LineFile(file, stateFile, { ...state, nextOffset: start, end });
    }
    if (!existsSync(file) && state.bytes === 0) return new LineFile(file, stateFile, state);
    if (existsSync(file) && statSync(file).size >= state.bytes) return new LineFile(file, stateFile, state);
    throw new Failure(`${file} is shorter than ${stateFile.file} says: remove both, and export anew`);
  }

  get state(): ExportState {
    return this.#state;
  }

  /** Goes on at this offset, if it is a later one. The next step tells the state. */
  passOver(to: number): void {
    const { nextOffset, missing } = this.#state;
    if (to <= nextOffset) return;
    this.#state = { ...this.#state, nextOffset: to, missing: [...missing, [nextOffset, to - 1]] };
  }

  /** True if it was time for a step. */
  add(line: string, offset: number): boolean {
    this.#lines.push(line);
    this.#pending += line.length;
    if (this.#pending < STEP_BYTES) return false;
    this.step(offset + 1);
    return true;
  }

  /** What was added is in the file for good. `isLast`: no byte at all would be no gzip. */
  step(nextOffset: number, isLast = false): void {
    const text = this.#lines.map((line) => `${line}\n`).join("");
    const plain = Buffer.from(text);
    const isMember = this.#isPacked && (plain.length > 0 || (isLast && this.#state.bytes === 0));
    const bytes = isMember ? gzipSync(plain) : plain;
    withFileName(this.#file, () => {
      for (let done = 0; done < bytes.length;)
        done += writeSync(this.#fd, bytes, done, bytes.length - done, this.#state.bytes + done);
      fsyncSync(this.#fd);
    });
    const records = this.#state.records + this.#lines.length;
    this.#state = { ...this.#state, bytes: this.#state.bytes + bytes.length, nextOffset, records };
    this.#stateFile.write(JSON.stringify(this.#state));
    this.#lines = [];
    this.#pending = 0;
  }

  close(isWhole: boolean): void {
    closeSync(this.#fd);
    if (isWhole) this.#stateFile.remove();
  }
}
