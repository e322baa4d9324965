/** The chunk store as a host of the LogStore contract, over any SQLite database. */
import type { EncodingKernel } from "../../src/kernel/types.ts";
import { readHeader } from "../../src/record/format.ts";
import { ChunkLog } from "../../worker/store/chunk-log.ts";
import { bytesOf } from "../../worker/store/chunk-tables.ts";
import type { Sql } from "../../worker/store/sql.ts";
import type { LogStoreHost, OpenLog } from "./log-store-contract.ts";

let clock = 1_000_000;

/** `newSql` must return an empty database each time. */
export function chunkHost(kernel: EncodingKernel, newSql: () => Promise<Sql>): LogStoreHost {
  function opened(sql: Sql): OpenLog {
    const log = new ChunkLog({ sql, kernel, now: () => clock++, name: "a", segmentBytes: 40_000 });
    return {
      log,
      async reopen(clean) {
        if (clean) await log.close();
        return opened(sql);
      },
      async flipBit(baseOffset, at) {
        const query = "SELECT base_offset, bytes FROM chunk WHERE base_offset <= ? ORDER BY base_offset DESC LIMIT 1";
        const row = [...sql.exec(query, baseOffset)][0]!;
        const bytes = bytesOf(row["bytes"]).slice();
        let position = 0;
        while (readHeader(bytes, position).baseOffset !== baseOffset) position += readHeader(bytes, position).sizeBytes;
        bytes[position + at]! ^= 1;
        void [...sql.exec("UPDATE chunk SET bytes = ? WHERE base_offset = ?", bytes, row["base_offset"]!)];
      },
    };
  }
  return { kernel, open: async () => opened(await newSql()) };
}
