/**
 * Appends beside raw OPFS and SQLite. All sides of a contest run once in each round, and each round begins with another
 * side. A ratio is the median over the rounds of ours divided by the other side's in the same round.
 */
import { median } from "../support/figures.mjs";

/** Unanswered calls at a time, on both sides, in workloads that do not use the usual five. */
const DEEP = 20;

/**
 * `sides`: by name, the call of a workload; "tidemark" is ours. `ratios`: by side, the ratio's name. Each side's median
 * is a figure `key.side`.
 */
async function contest(bench, rounds, result, { key, sides, ratios }) {
  const names = Object.keys(sides);
  const rates = Object.fromEntries(names.map((name) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    for (let i = 0; i < names.length; i++) {
      const name = names[(round + i) % names.length];
      await bench.reload();
      rates[name].push(await bench.run(...sides[name]));
    }
    const line = names.map((name) => `${name} ${Math.round(rates[name].at(-1)).toLocaleString("en-US")}`);
    process.stderr.write(`  ${key} round ${round + 1}: ${line.join(", ")} records/s\n`);
  }
  for (const name of names) result.figures[`${key}.${name}.recordsPerSecond`] = median(rates[name]);
  for (const [side, ratio] of Object.entries(ratios))
    result.ratios[ratio] = median(rates.tidemark.map((rate, round) => rate / rates[side][round]));
}

export async function append(bench, size, result) {
  const { rounds, batches, sqliteBatches, singles, unawaited } = size;
  const run = (each) => contest(bench, rounds, result, each);
  await run({
    key: "append.batch1000.100B",
    sides: {
      tidemark: ["appendOurs", batches, 1000, 100],
      rawOpfs: ["appendRaw", batches, 1000, 100],
      sqlite: ["appendPeer", "sqlite", sqliteBatches, 1000, 100],
      idb: ["appendPeer", "idb", sqliteBatches, 1000, 100],
    },
    ratios: {
      rawOpfs: "append.batch1000.vsRawOpfs",
      sqlite: "append.batch1000.vsSqlite",
      idb: "append.batch1000.vsIdb",
    },
  });
  await run({
    key: "append.batch1000.1KiB",
    sides: {
      tidemark: ["appendOurs", batches, 1000, 1024],
      rawOpfs: ["appendRaw", batches, 1000, 1024],
      sqlite: ["appendPeer", "sqlite", sqliteBatches, 1000, 1024],
    },
    ratios: { rawOpfs: "append.batch1000.1KiB.vsRawOpfs", sqlite: "append.batch1000.1KiB.vsSqlite" },
  });
  for (const [bytes, label] of [
    [100, "100B"],
    [1024, "1KiB"],
  ])
    await run({
      key: `append.deep.${label}`,
      sides: {
        tidemark: ["appendOurs", batches, 1000, bytes, DEEP],
        rawOpfs: ["appendRaw", batches, 1000, bytes, DEEP],
      },
      ratios: { rawOpfs: `append.deep.${label}.vsRawOpfs` },
    });
  await run({
    key: "append.single",
    sides: {
      tidemark: ["singleOurs", singles, 100],
      rawOpfs: ["singleRaw", singles, 100],
      sqlite: ["singleSqlite", singles, 100],
    },
    ratios: { rawOpfs: "append.single.vsRawOpfs", sqlite: "append.single.vsSqlite" },
  });
  await run({
    key: "append.unawaited1000",
    sides: {
      tidemark: ["unawaitedOurs", unawaited, 100],
      sqlite: ["unawaitedSqlite", Math.max(2, unawaited >> 2), 100],
    },
    ratios: { sqlite: "append.unawaited1000.vsSqlite" },
  });
  const bursts = [];
  for (let round = 0; round < rounds; round++) {
    await bench.reload();
    bursts.push(await bench.run("burst", 16 << 20, 500));
  }
  result.figures["append.burst16MiB.MiBPerSecond"] = median(bursts);
}
