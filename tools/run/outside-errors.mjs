/**
 * A reporter of Vitest: writes the errors outside of every test (a page or worker that ended, a rejection that nobody
 * caught) into the file that TIDEMARK_OUTSIDE_ERRORS names, as a list of texts. Vitest's JSON report leaves them out.
 */
import { writeFileSync } from "node:fs";

export default class OutsideErrors {
  onTestRunEnd(_, errors) {
    const texts = errors.map(({ name = "Error", message, stack }) => stack ?? `${name}: ${message}`);
    writeFileSync(process.env.TIDEMARK_OUTSIDE_ERRORS, JSON.stringify(texts));
  }
}
