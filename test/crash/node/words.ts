/** What a record says: known from its number, so that whoever reads it can tell whether it is whole. */
export const textOf = (n: number): string => `${n} `.repeat(1 + ((n * 7919) % 300));
