/** The playground's two devices: their names, what they write, and what they tell the page around them. */
export const DEVICES = {
  phone: { title: "Phone", samples: ["milk", "bread", "apples", "coffee", "rice", "salt", "honey"] },
  laptop: { title: "Laptop", samples: ["paint", "a lamp", "screws", "glue", "a rug", "a shelf", "a kettle"] },
} as const;

export type DeviceName = keyof typeof DEVICES;

export const samplesOf = (device: DeviceName): readonly string[] => DEVICES[device].samples;
export const titleOf = (device: string): string => (device in DEVICES ? DEVICES[device as DeviceName].title : device);

/** A record's value. */
export interface Note {
  readonly text: string;
  readonly from: DeviceName;
}

/** What a device holds, told to the page around its frame. */
export interface Report {
  readonly device: DeviceName;
  /** Committed records, and a sum over them in their order. */
  readonly count: number;
  readonly sum: number;
  readonly provisional: number;
}

/** A sum over values in their order (FNV-1a over their JSON). Equal logs have equal sums. */
export function add(sum: number, value: unknown): number {
  let next = sum;
  for (const byte of new TextEncoder().encode(`${JSON.stringify(value)}\n`)) next = Math.imul(next ^ byte, 16_777_619);
  return next >>> 0;
}
/** The sum of nothing. */
export const NOTHING = 2_166_136_261;
