/** Versions of a copy of the catalog, and positions in it, as catalog.ts draws it. Nothing but numbers is here. */
export const CATALOG_VERSION_BARE = 1;
export const CATALOG_VERSION = 2;
export const CATALOG_VERSION_NOTED = 3;
export const CATALOG_VERSION_AT = 8;
export const CATALOG_PAYLOAD_BYTES_AT = 12;
export const CATALOG_GENERATION_AT = 16;
export const CATALOG_CRC_AT = 24;
export const CATALOG_PAYLOAD_AT = 28;
