/** Positions in a copy of the catalog, as catalog.ts draws it. */
export const CATALOG_VERSION_AT = 8;
export const CATALOG_PAYLOAD_BYTES_AT = 12;
export const CATALOG_GENERATION_AT = 16;
export const CATALOG_CRC_AT = 24;
export const CATALOG_PAYLOAD_AT = 28;
