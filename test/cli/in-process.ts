/** A command in this process, as the program runs it: quicker than the program, where its exit code is no matter. */
import { vi } from "vitest";
import type { Command } from "../../cli/arguments.ts";

export interface Said {
  /** Lines of results. */
  readonly out: readonly string[];
  /** What people are told. */
  readonly notes: string;
  readonly thrown: unknown;
}

/** `words`: the arguments that have no names. */
export async function told(command: Command, words: readonly string[], options: object = {}): Promise<Said> {
  const notes = vi.spyOn(process.stderr, "write").mockReturnValue(true);
  const out = vi.spyOn(process.stdout, "write").mockReturnValue(true);
  const [target, topic, third] = words;
  const args = { _: words, target, topic, out: third, from: "earliest", as: "records", ...options };
  let thrown: unknown;
  try {
    await command.run({ args: args as never });
  } catch (error) {
    thrown = error;
  }
  const [said, printed] = [notes, out].map(({ mock }) => mock.calls.map(([text]) => String(text)).join(""));
  notes.mockRestore();
  out.mockRestore();
  return { out: printed!.split("\n").slice(0, -1), notes: said!, thrown };
}

/** What a command that does its work tells people. Throws as it fails, with what it has printed. */
export async function said(command: Command, words: readonly string[], options: object = {}): Promise<string> {
  const { out, notes, thrown } = await told(command, words, options);
  if (thrown === undefined) return notes;
  throw new Error([(thrown as Error).message, ...out].join("\n"));
}
