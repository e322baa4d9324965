/** A rule for paths at the edge that pages, the client and the edge itself have in common. */

/**
 * True if a part of the path is "." or "..". Whatever takes an address resolves such parts, encoded or not. So a
 * request to a/../b would reach b.
 */
export const hasDotPart = (path: string): boolean => path.split("/").some((part) => part === "." || part === "..");
