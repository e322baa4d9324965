/**
 * Output. Results go to stdout, and wait for whoever reads them; progress and notes go to stderr. There is colour and
 * progress only on a terminal. A reader of stdout that has left (`| head`) ends a command that only prints, quietly.
 */
import { once } from "node:events";

const { stdout, stderr } = process;

/** A terminal that takes control sequences. */
const isAble = (stream: NodeJS.WriteStream): boolean => stream.isTTY === true && process.env["TERM"] !== "dumb";
/** NO_COLOR set to anything but "" means none (no-color.org). */
const hasColour = (stream: NodeJS.WriteStream): boolean => isAble(stream) && !process.env["NO_COLOR"];

const CONTROLS = /[\0-\x08\x0b-\x1f\x7f-\x9f]/g;
/**
 * A text out of a log for a terminal, which would obey control characters in it: they are shown as \x1b. Lines and tabs
 * stay. Whatever else reads stdout gets the text unchanged.
 */
export const shownText = (text: string): string =>
  stdout.isTTY === true
    ? text.replace(CONTROLS, (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, "0")}`)
    : text;

const paint = (code: number, text: string): string => (hasColour(stdout) ? `\u001b[${code}m${text}\u001b[0m` : text);
export const dim = (text: string): string => paint(2, text);
export const red = (text: string): string => paint(31, text);
export const green = (text: string): string => paint(32, text);
export const cyan = (text: string): string => paint(36, text);

let [goesOn, isUnread] = [false, false];

/** The command does more than print: it goes on also when nobody reads what it prints. */
export const goOnUnread = (): void => void (goesOn = true);

/** Nobody reads stdout any more. False: the command ends. */
export const continueUnread = (): boolean => (isUnread = goesOn);

/** Resolves when more can be written. */
export async function print(text: string | Uint8Array): Promise<void> {
  if (isUnread || stdout.write(text)) return;
  await once(stdout, "drain").catch((thrown: unknown) => {
    if (!isUnread) throw thrown;
  });
}

export const printLine = (text: string): Promise<void> => print(`${text}\n`);

/** A line for people, beside the results. */
export function note(text: string): void {
  clear();
  stderr.write(`${text}\n`);
}

let isShown = false;
let shownAt = 0;
/** Progress is drawn at most this often. */
const DRAW_MS = 100;

function clear(): void {
  if (!isShown) return;
  stderr.write("\r\u001b[K");
  isShown = false;
}

/** Draws progress over the last one. `total`: a bar and a share of it. Only on a terminal that takes it. */
export function progress(what: string, done: number, total?: number): void {
  if (!isAble(stderr) || Date.now() - shownAt < DRAW_MS) return;
  shownAt = Date.now();
  const share = total ? Math.min(1, done / total) : undefined;
  const bar = share === undefined ? "" : `[${"#".repeat(Math.round(share * 20)).padEnd(20, "·")}] `;
  const percent = share === undefined ? "" : ` ${Math.floor(share * 100)}%`;
  stderr.write(`\r\u001b[K${bar}${done.toLocaleString("en")} ${what}${percent}`);
  isShown = true;
}

export const endProgress = clear;

/** Bytes for people: 1536 is 1.5 KiB. */
export function sizeText(bytes: number): string {
  const units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  let size = bytes;
  for (; size >= 1024 && unit < units.length - 1; unit++) size /= 1024;
  return unit === 0 ? counted(size, "byte") : `${size.toFixed(1)} ${units[unit]}`;
}

/** "1 record", "2 records". */
export const counted = (count: number, what: string, many = `${what}s`): string =>
  `${count} ${count === 1 ? what : many}`;

/** A range of offsets as text, as everywhere: `to` is not part of it. */
export const offsetsText = (from: number, to: number): string =>
  to - from === 1 ? `offset ${from}` : `offsets ${from} to ${to}`;

export const timeText = (timestamp: number): string =>
  Number.isFinite(timestamp) && Math.abs(timestamp) <= 8.64e15 ? new Date(timestamp).toISOString() : String(timestamp);

/** Tells of acks: as lines of stdout if they are wanted, else as progress. */
export const acked =
  (wanted = false) =>
  async (records: number, end: number): Promise<void> => {
    if (wanted) await printLine(`${records} ${end}`);
    else progress("records", records);
  };
