/** What views cost in a page: `--only views`. Targets: hard case H41 of docs/sync.md, and 15 ms for 10,000 records. */
import { median } from "../support/figures.mjs";

export async function views(bench, size, result) {
  await bench.reload();
  const { applyFactor, recordsPerSecond } = await bench.run("viewCatchUp", size.viewRecords, size.viewRecords / 10);
  result.figures["sync.view.applyFactor"] = applyFactor;
  result.figures["sync.view.catchUpRecordsPerSecond"] = recordsPerSecond;
  await bench.reload();
  result.figures["sync.view.rebase10kMs"] = median(await bench.run("viewRebase", size.viewPending, size.viewRounds));
}
