/** What a log object prints behind the last test of a file does not hold up the file's end. */
import { expect, it } from "vitest";
import { inside } from "./archive-tools.ts";

it("an object that goes on printing is not waited for by the suite", async () => {
  const printed: number[] = [];
  await inside("late-lines", () => {
    // The file ends somewhere in between. A suite that waits for one of these lines hangs.
    const print = (line: number): void => {
      printed.push(line);
      console.log(`line ${line}, behind the test that prints it`);
      if (line < 199) setTimeout(print, 2, line + 1);
    };
    setTimeout(print, 2, 0);
  });
  expect(printed.length).toBeLessThan(200);
});
