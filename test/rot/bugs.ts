/** Planted bugs that the rot suite must find: omitted checks, and bugs that the suite found in the product before. */
import { MUTANTS } from "../simulation/mutants.ts";
import type { PlantedBug } from "../support/planted-bug.ts";

const EXAMINE = "src/store/examine.ts";
const HOPS = "src/store/hops.ts";
const RECOVERY = "src/store/segment-walk.ts";

/** Runs over the reference kernel, because the bug is in the kernel. */
export interface RotBug extends PlantedBug {
  readonly reference?: true;
  /** Only these regions are checked, so that the test is quick. */
  readonly regions: RegExp;
}

function shared(name: string, regions: RegExp): RotBug[] {
  return MUTANTS.filter((mutant) => mutant.name === name).map(({ file, find, replace, reference }) => ({
    name,
    file,
    find,
    replace,
    regions,
    ...(reference && { reference }),
  }));
}

export const BUGS: readonly RotBug[] = [
  ...shared("catalog checksum ignored", /catalog/),
  ...shared("batch checksum ignored", /records/),
  ...shared("damage not looked for", /sealed: batch/),
  {
    name: "reader decodes unchecked",
    file: "src/record/record-batch.ts",
    find: "const { status, columns } = kernel.decodeBatch(bytes, checkCrc);",
    replace: "const { status, columns } = kernel.decodeBatch(bytes, false && checkCrc);",
    regions: /records/,
  },
  {
    name: "sections checksum ignored",
    file: "src/store/sections.ts",
    find:
      "if (kernel.crc32c(bytes.subarray(0, length)) !== view.getUint32(length + SECTIONS_CRC_AT)) " +
      "return undefined;",
    replace: "",
    regions: /index/,
  },
  {
    name: "footer checksum ignored",
    file: "src/store/sections.ts",
    find:
      "if (footerCrc !== sealed.footerCrc || footerCrc !== view.getUint32(length + FOOTER_BYTES - 4)) return " +
      "undefined;",
    replace: "",
    regions: /compacted: footer/,
  },
  {
    name: "body checksum of a compacted segment ignored",
    file: EXAMINE,
    find: "(await bodyCrc(volume, kernel, segment)) === sections.bodyCrc);",
    replace: "true);",
    regions: /compacted: batch/,
  },
  {
    name: "contradicting offsets believed",
    file: EXAMINE,
    find: 'found.damage.some(({ reason }) => reason === "BAD_OFFSET")',
    replace: "false",
    regions: /compacted: batch/,
  },
  {
    name: "mark checksum ignored",
    file: "src/store/slot-read.ts",
    find: "if (kernel.crc32c(bytes.subarray(0, MARK_CRC_AT)) !== view.getUint32(MARK_CRC_AT)) return undefined;",
    replace: "",
    regions: /active: mark/,
  },
  {
    name: "hops know no end",
    file: HOPS,
    find: "return ends && header.sizeBytes <= left &&",
    replace: "return",
    regions: /sealed: batch header outside/,
  },
  {
    name: "hops don't continue each other",
    file: HOPS,
    find: "plausible(segment, header, next, expected, dense);",
    replace: "plausible(segment, header, next, -1, dense);",
    regions: /sealed: batch header outside/,
  },
  {
    name: "hops handed out before the next one is seen",
    file: HOPS,
    find: "held = position > done ? { header, position } : undefined;",
    replace: "if (position > done) yield { header, position };",
    regions: /sealed: batch header/,
  },
  {
    name: "a rotten tail is no tail",
    file: RECOVERY,
    find: "(begun || (await hasItsCrc(walk, position, size)))",
    replace: "begun",
    regions: /active: batch header outside/,
  },
];
