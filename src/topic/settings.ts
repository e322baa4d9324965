/**
 * A topic's settings: what belongs to the topic and not to a tab. They are stored with it, so only what was given is in
 * them, and a default may change with the library.
 */
import { DEFAULT_SETTINGS, withDefaults } from "../log/limits.ts";
import type { CompactionSettings, LogSettings, RetentionSettings } from "../log/types.ts";

export interface TopicSettings {
  readonly retention?: RetentionSettings;
  /** false: it was on, and is off. */
  readonly compaction?: CompactionSettings | false;
  readonly segmentMaxAgeMs?: number;
  readonly recordBytesMax?: number;
}

/** What an application gives; `compaction: true` means the defaults. */
export interface GivenSettings {
  readonly retention?: RetentionSettings | undefined;
  readonly compaction?: CompactionSettings | boolean | undefined;
  readonly segmentMaxAgeMs?: number | undefined;
  readonly recordBytesMax?: number | undefined;
}

const NAMES = ["retention", "compaction", "segmentMaxAgeMs", "recordBytesMax"] as const;

/** The log's own words for them. */
export function logSettingsOf({ compaction, ...settings }: TopicSettings): Partial<LogSettings> {
  return { ...settings, compaction: compaction === false ? undefined : compaction };
}

/**
 * The settings among a topic's options, as plain data of their own; undefined when there are none. INVALID_ARGUMENT.
 */
export function settingsOf(options: GivenSettings): TopicSettings | undefined {
  const { compaction } = options;
  const all: Record<string, unknown> = { ...options, compaction: compaction === true ? {} : compaction };
  const given = NAMES.filter((name) => all[name] !== undefined).map((name) => [name, all[name]]);
  if (given.length === 0) return undefined;
  const settings = Object.fromEntries(given) as TopicSettings;
  withDefaults(logSettingsOf(settings));
  return JSON.parse(JSON.stringify(settings)) as TopicSettings;
}

/** What is usable of settings that come from storage: a value that would be refused today counts as not set. */
export function soundSettings(stored: Readonly<Record<string, unknown>> = {}): TopicSettings {
  const isSound = (name: (typeof NAMES)[number]): boolean => {
    try {
      withDefaults(logSettingsOf({ [name]: stored[name] } as TopicSettings));
      return stored[name] !== undefined;
    } catch {
      return false;
    }
  };
  return Object.fromEntries(NAMES.filter(isSound).map((name) => [name, stored[name]])) as TopicSettings;
}

const ordered = (_: string, value: unknown): unknown =>
  value && typeof value === "object"
    ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
    : value;

/** The settings once these are given; undefined when that changes nothing. What is not given stays as it is. */
export function changedSettings(now: TopicSettings, given: TopicSettings): TopicSettings | undefined {
  const next = { ...now, ...given };
  return JSON.stringify(next, ordered) === JSON.stringify(now, ordered) ? undefined : next;
}

/** The largest record that a topic takes; `given` is not stored yet. Asked with each append, so no object is made. */
export const recordBytesMaxOf = (stored: TopicSettings | undefined, given: TopicSettings | undefined): number =>
  given?.recordBytesMax ?? stored?.recordBytesMax ?? DEFAULT_SETTINGS.recordBytesMax;
