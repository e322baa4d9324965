/**
 * Reads a copy of the catalog whose checksum is right (catalog.ts). Loaded when there is one: the volume of a first
 * visit has none.
 */
import { TidemarkError } from "../errors.ts";
import { viewOf } from "./bytes.ts";
import {
  ACTIVE_FIELDS,
  type CatalogState,
  isPossibleState,
  type LogEntry,
  type PackedLog,
  type PackedSegment,
  type PackedState,
  SEALED_FIELDS,
  type SegmentEntry,
} from "./catalog-state.ts";
import {
  CATALOG_GENERATION_AT,
  CATALOG_PAYLOAD_AT,
  CATALOG_VERSION_AT,
  CATALOG_VERSION_BARE,
  CATALOG_VERSION_NOTED,
} from "./catalog-layout.ts";

function unpackSegment(packed: PackedSegment): SegmentEntry {
  const fields = <Name extends string>(names: readonly Name[], from: number) =>
    Object.fromEntries(names.map((name, i) => [name, packed[from + i]!])) as Record<Name, number>;
  const active = fields(ACTIVE_FIELDS, 0);
  if (packed.length === ACTIVE_FIELDS.length) return active;
  const sealed = fields(SEALED_FIELDS, ACTIVE_FIELDS.length);
  return { ...active, sealed: { ...sealed, compacted: Boolean(sealed.compacted) } };
}

function unpackLog({ segments, end: [nextOffset, position], appending = 0, ...log }: PackedLog): LogEntry {
  return { ...log, segments: segments.map(unpackSegment), end: { nextOffset, position }, appending };
}

/** A payload of version 1, which had no identity, in today's form. */
function fromBare(bare: PackedState): PackedState {
  const withBegun = (segment: PackedSegment): PackedSegment => [...segment.slice(0, 4), 0, ...segment.slice(4)];
  const logs = bare.logs.map((log) => ({
    ...log,
    segments: log.segments.map(withBegun),
    end: [log.segments.at(-1)![1]!, 0] as const,
    appending: -1,
  }));
  return { ...bare, logs };
}

/** Undefined if it says what can't be true. UNSUPPORTED_FORMAT: a later version wrote it. */
export function decodeCopy(
  bytes: Uint8Array,
  slotBytes: number,
): { readonly generation: number; readonly state: CatalogState } | undefined {
  const view = viewOf(bytes);
  const version = view.getUint32(CATALOG_VERSION_AT);
  if (version < CATALOG_VERSION_BARE || version > CATALOG_VERSION_NOTED) {
    throw new TidemarkError(
      "UNSUPPORTED_FORMAT",
      `the catalog is of format version ${version}; this library reads ${CATALOG_VERSION_BARE} to ` +
        `${CATALOG_VERSION_NOTED}`,
      { version },
    );
  }
  try {
    const read = JSON.parse(new TextDecoder().decode(bytes.subarray(CATALOG_PAYLOAD_AT))) as PackedState;
    const packed = version === CATALOG_VERSION_BARE ? fromBare(read) : read;
    const generation = Number(view.getBigUint64(CATALOG_GENERATION_AT));
    if (!Number.isSafeInteger(generation) || !isPossibleState(packed, slotBytes)) return undefined;
    return { generation, state: { ...packed, logs: packed.logs.map(unpackLog) } };
  } catch {
    return undefined;
  }
}
