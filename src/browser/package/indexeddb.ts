/** indexeddb.js of the package: the volume in IndexedDB, where OPFS can't be used (platform/parts.ts). */
export { IdbVolume } from "../volume/idb-volume.ts";
