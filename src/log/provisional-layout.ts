/**
 * Where provisional offsets begin: a record from here on was written on this device and has no place at the edge yet.
 * Below it an offset is final. On disk positions are stored as they are, without this number.
 */
export const PROVISIONAL_FROM = 0x10000000000000;
