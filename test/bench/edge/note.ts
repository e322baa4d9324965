/** What a bench says while it runs, beside its figures. */
export const note = (text: string): void => void process.stderr.write(`  ${text}\n`);
