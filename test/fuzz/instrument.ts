/**
 * Coverage without a tool: a call of `__edge(n)` is written into the source before each statement of a function, into
 * each branch of a condition and behind each `&&`, `||` and `??`. It works on TypeScript and on AssemblyScript, so
 * coverage of the compiled kernel is measured as well as that of the reference kernel. `EdgeMap` turns pairs of such
 * points into coverage, as AFL does.
 *
 * Jazzer.js was tried first. Its fuzzer is a prebuilt native addon (@jazzer.js/fuzzer 4.0.0) that needs glibc 2.38; on
 * glibc 2.36, Debian 12's, it does not load, and building it fetches LLVM's compiler-rt from outside the registry. It
 * would also see no branch inside WebAssembly.
 */
import { parse } from "../support/tidy.ts";

interface Node {
  readonly type: string;
  readonly start: number;
  readonly end: number;
  readonly [field: string]: unknown;
}

const isNode = (value: unknown): value is Node => typeof (value as Node | null)?.type === "string";
const EDGE = "__edge";

/** Spreads consecutive numbers over 16 bits, so that few pairs get the same place in the map. */
const numbered = (n: number): number => (Math.imul(n, 40_503) ^ (n >>> 3)) & 0xffff;

class Instrumenter {
  readonly #inserts: [at: number, text: string][] = [];
  #points: number;

  constructor(first: number) {
    this.#points = first;
  }

  #call(): string {
    return `${EDGE}(${numbered(++this.#points)})`;
  }

  #statement(node: Node): void {
    if (node.type === "BlockStatement" || node.type === "FunctionDeclaration") return;
    this.#inserts.push([node.start, `${this.#call()}; `]);
  }

  /** Makes a block of a branch that is a single statement, with a point in front of the statement. */
  #branch(node: unknown): void {
    if (!isNode(node) || node.type === "BlockStatement") return;
    this.#inserts.push([node.start, `{ ${this.#call()}; `], [node.end, " }"]);
  }

  #expression(node: unknown): void {
    if (isNode(node)) this.#inserts.push([node.start, `(${this.#call()}, `], [node.end, ")"]);
  }

  visit(node: Node, inFunction: boolean): void {
    const inside = inFunction || /Function/.test(node.type);
    if (inside) {
      if (node.type === "BlockStatement") for (const child of node["body"] as Node[]) this.#statement(child);
      if (node.type === "SwitchCase") for (const child of node["consequent"] as Node[]) this.#statement(child);
      if (node.type === "IfStatement") [node["consequent"], node["alternate"]].forEach((each) => this.#branch(each));
      if (/^(For|While)\w*Statement$/.test(node.type)) this.#branch(node["body"]);
      if (node.type === "ConditionalExpression")
        [node["consequent"], node["alternate"]].forEach((each) => this.#expression(each));
      if (node.type === "LogicalExpression") this.#expression(node["right"]);
      if (node.type === "ArrowFunctionExpression" && (node["body"] as Node).type !== "BlockStatement")
        this.#expression(node["body"]);
    }
    for (const value of Object.values(node)) {
      for (const child of Array.isArray(value) ? value : [value]) if (isNode(child)) this.visit(child, inside);
    }
  }

  apply(source: string): string {
    let code = "";
    let at = 0;
    // Several inserts may stand at one place. Closing ones come first, in the reverse order of their making: those of
    // the inner nodes were made last.
    const inserts = this.#inserts.map(([where, text], i) => ({
      where,
      text,
      i,
      closes: text.endsWith(")") || text === " }" ? !text.startsWith("(") : false,
    }));
    inserts.sort(
      (a, b) => a.where - b.where || Number(b.closes) - Number(a.closes) || (a.closes ? b.i - a.i : a.i - b.i),
    );
    for (const { where, text } of inserts) {
      code += source.slice(at, where) + text;
      at = where;
    }
    return code + source.slice(at);
  }
}

/** The source with coverage points, numbered from `first` on. */
export function instrument(source: string, file: string, first: number): string {
  const instrumenter = new Instrumenter(first);
  instrumenter.visit(parse(source, file) as Node, false);
  const declared = file.startsWith("assembly/")
    ? `@external("env", "edge") declare function ${EDGE}(id: i32): void;\n`
    : "";
  return declared + instrumenter.apply(source);
}

const SIZE = 0x10000;
/** How often a pair was passed counts by its bucket only: 1, 2, 3, 4 to 7, 8 to 15, 16 to 31, 32 to 127, more. */
const bucketOf = (count: number): number =>
  count < 4 ? 1 << (count - 1) : count < 8 ? 8 : count < 16 ? 16 : count < 32 ? 32 : count < 128 ? 64 : 128;

/** The pairs of points that one input passed, and those that any input passed. */
export class EdgeMap {
  readonly #hits = new Uint32Array(SIZE);
  readonly #seen = new Uint8Array(SIZE);
  readonly #touched: number[] = [];
  #before = 0;
  /** How many different pairs any input has passed. */
  pairs = 0;

  readonly edge = (id: number): void => {
    const pair = (id ^ this.#before) & 0xffff;
    if (this.#hits[pair] === 0) this.#touched.push(pair);
    this.#hits[pair]! += 1;
    this.#before = (id >>> 1) & 0x7fff;
  };

  /** Begins an input, or a part of one: its first point makes no pair with the last point before. */
  cut(): void {
    this.#before = 0;
  }

  /** Ends an input. True if it passed a pair that no input passed, or passed one in another bucket of counts. */
  isNew(): boolean {
    let found = false;
    for (const pair of this.#touched) {
      const bucket = bucketOf(this.#hits[pair] as number);
      const seen = this.#seen[pair] as number;
      if (seen === 0) this.pairs++;
      if ((seen & bucket) === 0) {
        this.#seen[pair] = seen | bucket;
        found = true;
      }
      this.#hits[pair] = 0;
    }
    this.#touched.length = 0;
    this.#before = 0;
    return found;
  }
}
