/** Checks of what a caller without types gives: INVALID_ARGUMENT names the field and says what to give. */
import { TidemarkError } from "../browser/index.ts";

export function check(isRight: unknown, field: string, what: string): asserts isRight {
  if (!isRight) throw new TidemarkError("INVALID_ARGUMENT", `${field}: give ${what}`, { field });
}

/**
 * Options as given; null, too, is none. `types` has all that there are, by what `typeof` says: another would be ignored
 * in silence. Without it, open() looks at them.
 */
export function optionsOf<T extends object>(
  given: T | null | undefined,
  types?: Readonly<Record<keyof T & string, string>>,
): Partial<T> {
  const options: Partial<T> = given ?? {};
  check(typeof options === "object" && !Array.isArray(options), "options", "an object");
  for (const name in types && options)
    check(
      options[name] === undefined || typeof options[name] === types![name],
      name,
      `a ${types![name] ?? "known option"}`,
    );
  return options;
}
