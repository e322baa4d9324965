/**
 * What the slots of a tide hold whose catalog is lost: each says itself which log's segment it is and where it begins.
 * Where a sealed segment ends stands in its footer; an active one ends behind its newest mark, or behind the last batch
 * that goes on there.
 *
 * Only the catalog knows what was trimmed, deleted or replaced by compaction. So such records may come back. Of two
 * slots with the same offsets the one that was begun last counts.
 */
import { type Kernel, Status } from "../src/kernel/types.ts";
import { BATCH_HEADER_BYTES, nextOffsetOf, readHeader } from "../src/record/format.ts";
import { decodeFooter, FOOTER_BYTES, type Footer } from "../src/store/footer.ts";
import { BODY_AT } from "../src/store/slot-layout.ts";
import { readMark, readRole } from "../src/store/slot-read.ts";
import type { Role } from "../src/store/slot.ts";
import { CATALOG_SLOTS } from "../src/store/volume.ts";
import { bytesAt, type FoundTide } from "./slot-files.ts";

interface Salvaged {
  readonly role: Role;
  readonly body: Uint8Array;
  readonly nextOffset: number;
}

/** The footer of the segment that this slot holds, as its place and its base offset say. */
function footerIn(kernel: Kernel, slot: Uint8Array, { baseOffset, epoch }: Role): Footer | undefined {
  const bytes = Buffer.from(slot.buffer, slot.byteOffset, slot.length);
  for (let at = BODY_AT; (at = bytes.indexOf("TIDEFOOT", at, "latin1")) >= 0; at++) {
    const footer = decodeFooter(kernel, slot.subarray(at, at + FOOTER_BYTES));
    if (!footer || footer.baseOffset !== baseOffset || footer.epoch < epoch) continue;
    const { bodyBytes, offsetIndexBytes, timeIndexBytes, producersBytes } = footer;
    if (BODY_AT + bodyBytes + offsetIndexBytes + timeIndexBytes + producersBytes === at) return footer;
  }
  return undefined;
}

async function salvaged({ volume }: FoundTide, kernel: Kernel, slot: number): Promise<Salvaged | undefined> {
  const role = await readRole(kernel, volume, slot);
  if (!role) return undefined;
  const bytes = await bytesAt(volume, slot, 0, volume.slotBytes);
  const footer = footerIn(kernel, bytes, role);
  if (footer) return { role, body: bytes.subarray(BODY_AT, BODY_AT + footer.bodyBytes), nextOffset: footer.nextOffset };
  const { baseOffset, epoch } = role;
  const mark = await readMark(kernel, volume, { slot, baseOffset, epoch });
  let { position: end, nextOffset } = mark ?? { position: 0, nextOffset: baseOffset };
  for (const room = volume.slotBytes - BODY_AT; room - end >= BATCH_HEADER_BYTES;) {
    const header = readHeader(bytes, BODY_AT + end);
    if (header.baseOffset !== nextOffset || header.leaderEpoch < epoch) break;
    if (header.sizeBytes < BATCH_HEADER_BYTES || header.sizeBytes > room - end) break;
    const at = BODY_AT + end;
    if (kernel.validateBatch(bytes.subarray(at, at + header.sizeBytes)) !== Status.OK) break;
    end += header.sizeBytes;
    nextOffset = nextOffsetOf(header);
  }
  return { role, body: bytes.subarray(BODY_AT, BODY_AT + end), nextOffset };
}

const overlap = (a: Salvaged, b: Salvaged): boolean =>
  a.role.baseOffset < b.nextOffset && b.role.baseOffset < a.nextOffset;

/** By log: the bodies of its segments, in the order of their offsets. */
export async function salvagedLogs(
  tide: FoundTide,
  kernel: Kernel,
): Promise<ReadonlyMap<string, readonly { readonly name: string; readonly log: Uint8Array }[]>> {
  const logs = new Map<string, Salvaged[]>();
  for (let slot = CATALOG_SLOTS; slot < tide.volume.files.length; slot++) {
    const found = await salvaged(tide, kernel, slot);
    if (found && found.body.length > 0) logs.set(found.role.log, [...(logs.get(found.role.log) ?? []), found]);
  }
  return new Map(
    [...logs].map(([name, all]) => {
      const kept: Salvaged[] = [];
      for (const each of all.sort((a, b) => b.role.begun - a.role.begun))
        if (!kept.some((other) => overlap(each, other))) kept.push(each);
      const files = kept
        .sort((a, b) => a.role.baseOffset - b.role.baseOffset)
        .map(({ role, body }) => ({ name: String(role.baseOffset), log: body }));
      return [name, files];
    }),
  );
}
