/** A log's settings: every wrong value is refused by name, and wrong values in storage remove no record. */
import { describe, expect, it } from "vitest";
import { TidemarkError } from "../../src/errors.ts";
import {
  BATCH_BYTES_MAX,
  checkSettings,
  DEFAULT_SETTINGS,
  saneCompaction,
  saneRetention,
  withDefaults,
} from "../../src/log/limits.ts";
import { retentionOffset } from "../../src/log/retention.ts";
import { batchOf, fixture, kernel } from "./log-fixtures.ts";
import { Archive } from "../../worker/store/segment-archive.ts";
import { compactionOf, describeRetention, retentionOf } from "../../worker/wire/policies.ts";
import { Stream } from "../../worker/stream/stream.ts";
import { openTopic } from "../../worker/client/topic.ts";
import { retentionDue } from "../../worker/log-object/retention-schedule.ts";
import { nodeSql } from "../support/node-sql.ts";
import { STREAM_CONFIG } from "../support/stream-config.ts";

const NONSENSE = [null, Number.NaN, -1, -Infinity, Infinity, "5", "512MB", true, {}, [], [5], () => 5, 10n] as const;
const messageOf = (work: () => unknown): string => {
  try {
    work();
  } catch (thrown) {
    expect(thrown).toBeInstanceOf(TidemarkError);
    return (thrown as TidemarkError).message;
  }
  return "taken";
};

describe("settings", () => {
  const limits = Object.keys(DEFAULT_SETTINGS).filter(
    (name) => typeof DEFAULT_SETTINGS[name as keyof typeof DEFAULT_SETTINGS] === "number",
  );
  const fields = [
    ...limits.map((name) => [name]),
    ...["maxAgeMs", "maxBytes", "maxRecords"].map((name) => ["retention", name]),
    ...["minLagMs", "tombstoneRetentionMs"].map((name) => ["compaction", name]),
  ];
  const settingsWith = ([first, second]: string[], value: unknown): object => ({
    [first!]: second === undefined ? value : { [second]: value },
  });

  it.each(fields.map((field) => [field.join("."), field] as const))(
    "%s: what is no finite number in its range is refused, named and shown",
    (name, field) => {
      for (const value of NONSENSE) {
        const message = messageOf(() => withDefaults(settingsWith([...field], value)));
        expect(message).toContain(`INVALID_ARGUMENT: ${name} is `);
        expect(message).toContain("must be");
      }
      const zero = messageOf(() => withDefaults(settingsWith([...field], 0)));
      expect(zero).toEqual(
        field[0] === "compaction"
          ? "taken"
          : expect.stringMatching(`${name} is 0; it must be a (finite|whole) number above 0`),
      );
      expect(messageOf(() => withDefaults(settingsWith([...field], undefined)))).toBe("taken");
    },
  );

  it("groups must be objects without unknown fields", () => {
    for (const group of ["retention", "compaction"]) {
      for (const value of [null, 5, "7d", true, [], Number.NaN])
        expect(messageOf(() => withDefaults({ [group]: value }))).toContain(`${group} is `);
      expect(messageOf(() => withDefaults({ [group]: { maxAge: 5 } }))).toMatch(
        RegExp(`${group}.maxAge is 5; it must be left out: ${group} has \\w+Ms, `),
      );
    }
    expect(messageOf(() => withDefaults({ maxBytes: 5 } as never))).toContain("maxBytes is 5; it must be left out");
    for (const value of [null, 5, "x", []]) expect(messageOf(() => checkSettings(value))).toContain("settings is ");
  });

  it("counts are whole, times need not be; sums fit", () => {
    expect(messageOf(() => withDefaults({ waitersMax: 1.5 }))).toContain(
      "waitersMax is 1.5; it must be a whole number",
    );
    expect(withDefaults({ segmentMaxAgeMs: 0.5, retention: { maxAgeMs: 0.5 } })).toMatchObject({
      segmentMaxAgeMs: 0.5,
    });
    expect(messageOf(() => withDefaults({ batchBytesMax: BATCH_BYTES_MAX + 1 }))).toContain("at most 1048588");
    expect(messageOf(() => withDefaults({ recordBytesMax: BATCH_BYTES_MAX - 60 }))).toContain("at most 1048527");
    expect(messageOf(() => withDefaults({ decompressedBytesMax: 3 * 1024 * 1024 }))).toContain("at most 2097152");
  });

  it("refused settings open no log and change nothing", async () => {
    const made = await fixture();
    for (let i = 0; i < 4; i++) {
      await made.log.append(batchOf([`k=${i}`]));
      await made.log.roll();
    }
    for (const value of NONSENSE) {
      for (const name of ["maxBytes", "maxAgeMs", "maxRecords"])
        await expect(made.reopen({ retention: { [name]: value } as never })).rejects.toMatchObject({
          code: "INVALID_ARGUMENT",
        });
    }
    await made.reopen({});
    await made.log.clean();
    expect([made.log.logStartOffset, made.log.logEndOffset]).toEqual([0, 4]);
  });

  it("wrong values in storage remove nothing", () => {
    const segment = (baseOffset: number) =>
      ({
        baseOffset,
        nextOffset: baseOffset + 1,
        state: "sealed",
        bytes: 1000,
        records: 1,
        sealedAt: 1_764_000_000_000,
        maxTimestamp: 0,
      }) as never;
    const state = { logStartOffset: 0, highWatermark: 9, nowMs: 1_800_000_000_000 };
    for (const value of [...NONSENSE, 0]) {
      for (const name of ["maxBytes", "maxAgeMs", "maxRecords"])
        expect(
          retentionOffset([segment(0), segment(1)], { [name]: value } as never, state),
          `${name}: ${String(value)}`,
        ).toBe(0);
      expect(saneRetention({ maxBytes: value as never, maxRecords: 5 })).toEqual({ maxRecords: 5 });
    }
    expect(saneCompaction({ tombstoneRetentionMs: -1, minLagMs: Number.NaN })).toEqual({});
  });
});

describe("settings at the edge", () => {
  it("headers of a PUT must be whole numbers from 1 on that do not overflow", () => {
    for (const name of ["Bytes", "Records", "Seconds"].map((each) => `Tidemark-Retention-${each}`)) {
      for (const value of ["0", "-1", "1.5", "1e3", "NaN", "Infinity", "null", "", "512MB", "99999999999999999999"]) {
        expect(() => retentionOf(new Headers({ [name]: value })), `${name}: ${value}`).toThrow(name);
      }
    }
    for (const name of ["Lag", "Tombstone"].map((each) => `Tidemark-Compaction-${each}-Seconds`)) {
      for (const value of ["-1", "1.5", "NaN", "9007199254740991"])
        expect(() => compactionOf(new Headers({ "Tidemark-Compaction": "key", [name]: value }))).toThrow(name);
    }
    expect(retentionOf(new Headers(describeRetention({ maxAgeMs: 1500, maxBytes: 10 })))).toEqual({
      maxAgeMs: 2000,
      maxBytes: 10,
    });
  });

  it("openTopic refuses them at the call", () => {
    for (const value of [...NONSENSE, 0])
      expect(() =>
        openTopic({ LOGS: { get: () => undefined, idFromName: () => undefined } } as never, "t", {
          retention: { maxBytes: value as never },
        }),
      ).toThrow(/retention\.maxBytes is .*must be/);
    expect(() =>
      openTopic({ LOGS: { get: () => undefined, idFromName: () => undefined } } as never, "t", {
        compaction: { tombstoneRetentionMs: -1 },
      }),
    ).toThrow("compaction.tombstoneRetentionMs is -1");
    expect(() =>
      openTopic({ LOGS: { get: () => undefined, idFromName: () => undefined } } as never, "t", {
        retention: { maxSize: 5 } as never,
      }),
    ).toThrow("retention.maxSize is 5; it must be left out");
  });

  it("a stream that was stored with wrong values opens, keeps everything, and has nothing due", async () => {
    const now = 1_764_000_000_000;
    for (const retention of [{ maxBytes: 0 }, { maxAgeMs: 0 }, { maxRecords: null }, { maxAgeMs: "5" }] as never[]) {
      const stream = await Stream.create(
        {
          sql: nodeSql(),
          kernel,
          archive: new Archive(undefined, kernel),
          now: () => now,
          breathe: () => Promise.resolve(),
          readSource: () => Promise.reject(new Error()),
          onChange: () => {},
          onSealed: () => {},
          abort: (reason: string) => expect.fail(reason),
        },
        { ...STREAM_CONFIG, retention },
      );
      await stream.appendBatches([batchOf(["a=1"])], undefined);
      await stream.log.roll();
      await stream.log.clean();
      expect([stream.log.logStartOffset, stream.log.logEndOffset, retentionDue(stream, now + 1e12)]).toEqual([
        0,
        1,
        undefined,
      ]);
    }
  });
});
