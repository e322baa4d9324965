/**
 * A topic's settings: they belong to the topic and not to a tab. They are stored with the topic. Only values that were
 * given are stored, so a default may change with the library.
 */
import { DEFAULT_SETTINGS, withDefaults } from "../log/limits.ts";
import type { CompactionSettings, LogSettings, RetentionSettings } from "../log/types.ts";

export interface TopicSettings {
  readonly retention?: RetentionSettings;
  /** false: compaction was on and is now off. */
  readonly compaction?: CompactionSettings | false;
  readonly segmentMaxAgeMs?: number;
  readonly recordBytesMax?: number;
}

/** Settings as an application passes them. `compaction: true` means the defaults. */
export interface GivenSettings {
  readonly retention?: RetentionSettings | undefined;
  readonly compaction?: CompactionSettings | boolean | undefined;
  readonly segmentMaxAgeMs?: number | undefined;
  readonly recordBytesMax?: number | undefined;
}

export const SETTING_NAMES = ["retention", "compaction", "segmentMaxAgeMs", "recordBytesMax"] as const;

/** The same settings in the form that the log takes. */
export function logSettingsOf({ compaction, ...settings }: TopicSettings): Partial<LogSettings> {
  return { ...settings, compaction: compaction === false ? undefined : compaction };
}

/**
 * The settings among a topic's options, as a plain object of their own. Undefined if there are none. INVALID_ARGUMENT
 * if one is wrong.
 */
export function settingsOf(options: GivenSettings): TopicSettings | undefined {
  const { compaction } = options;
  const all: Record<string, unknown> = { ...options, compaction: compaction === true ? {} : compaction };
  const given = SETTING_NAMES.filter((name) => all[name] !== undefined).map((name) => [name, all[name]]);
  if (given.length === 0) return undefined;
  const settings = Object.fromEntries(given) as TopicSettings;
  withDefaults(logSettingsOf(settings));
  return JSON.parse(JSON.stringify(settings)) as TopicSettings;
}

/** The usable part of stored settings: a value that would be refused today counts as not set. */
export function soundSettings(stored: Readonly<Record<string, unknown>> = {}): TopicSettings {
  const isSound = (name: (typeof SETTING_NAMES)[number]): boolean => {
    try {
      withDefaults(logSettingsOf({ [name]: stored[name] } as TopicSettings));
      return stored[name] !== undefined;
    } catch {
      return false;
    }
  };
  return Object.fromEntries(SETTING_NAMES.filter(isSound).map((name) => [name, stored[name]])) as TopicSettings;
}

const ordered = (_: string, value: unknown): unknown =>
  value && typeof value === "object"
    ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
    : value;

/**
 * The settings after these were given; undefined if that changes nothing. Settings that are not given stay as they are.
 */
export function changedSettings(now: TopicSettings, given: TopicSettings): TopicSettings | undefined {
  const next = { ...now, ...given };
  return JSON.stringify(next, ordered) === JSON.stringify(now, ordered) ? undefined : next;
}

/**
 * The largest record that the topic takes; `given` is not stored yet. Called for each append, so it makes no object.
 */
export const recordBytesMaxOf = (stored: TopicSettings | undefined, given: TopicSettings | undefined): number =>
  given?.recordBytesMax ?? stored?.recordBytesMax ?? DEFAULT_SETTINGS.recordBytesMax;
