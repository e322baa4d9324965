/** Types of command-line.mjs, which is plain JavaScript because it runs before anything is compiled. */
export class UsageError extends Error {}

export interface Option<Value> {
  readonly help: string;
  readonly value?: Value;
}
interface Settings<Value> {
  readonly help: string;
  readonly sample?: string;
  readonly default?: Value;
}
interface Range<Value> extends Settings<Value> {
  readonly min?: number;
  readonly max?: number;
}
type Told<S, Value> = S extends { readonly default: Value } ? Value : Value | undefined;

export function integer<S extends Range<number>>(settings: S): Option<Told<S, number>>;
export function decimal<S extends Range<number>>(settings: S): Option<Told<S, number>>;
export function seedNumber(settings?: Partial<Range<number>>): Option<number>;
export function text<S extends Settings<string>>(settings: S): Option<Told<S, string>>;
export function choice<const Word extends string, S extends Settings<Word>>(
  words: readonly Word[],
  settings: S,
): Option<S extends { readonly default: string } ? Word : Word | undefined>;
export function choices<const Word extends string, S extends Settings<readonly Word[]>>(
  words: readonly Word[],
  settings: S,
): Option<S extends { readonly default: readonly string[] } ? readonly Word[] : readonly Word[] | undefined>;
export function flag(settings: { readonly help: string }): Option<boolean>;
export function outputFile(settings: Settings<string>): Option<string | undefined>;
export function jsonFile(): Option<string | undefined>;

type Options = Readonly<Record<string, Option<unknown>>>;
type Values<O extends Options> = { readonly [Name in keyof O]: O[Name] extends Option<infer Value> ? Value : never };

export interface CommandLine<O extends Options> {
  /** The name in `npm run SCRIPT`. */
  readonly script: string;
  /** How a person calls it, if not by `npm run SCRIPT`. */
  readonly command?: string;
  readonly about: string;
  readonly options?: O;
  readonly positionals?: { readonly sample: string; readonly help: string; readonly words: readonly string[] };
  /** Checks combinations of options. Throws a UsageError. */
  readonly check?: (values: Values<O>) => void;
}
type All<O extends Options> = Values<O> & { readonly names: readonly string[] };

export function readCommandLine<const O extends Options>(
  spec: CommandLine<O>,
  args: readonly string[],
): { readonly help?: string; readonly values?: All<O> };
export function commandLine<const O extends Options>(spec: CommandLine<O>, args?: readonly string[]): All<O>;
