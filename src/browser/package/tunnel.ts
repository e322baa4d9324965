/**
 * tunnel.js of the package: what few devices that sync need (platform/parts.ts). Sync over HTTP, where no WebSocket
 * gets through; healing of damaged copies.
 */
export { heal } from "../../sync/healing.ts";
export { HttpWire } from "../../sync/http-wire.ts";
