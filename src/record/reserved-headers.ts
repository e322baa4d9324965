/**
 * Names of record headers that an edge keeps for itself, because it remembers its writers in them
 * (worker/stream/writer-state.ts). It refuses records that come with one, so a synced topic refuses them, too.
 */
export const PRODUCER_HEADER = "ds.producer";
export const SEQ_HEADER = "ds.seq";

/** True for header names that only an edge may set. */
export const isReserved = (headerName: string): boolean => headerName === PRODUCER_HEADER || headerName === SEQ_HEADER;
