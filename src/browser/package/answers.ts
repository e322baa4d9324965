/**
 * answers.js of the package: what a synced topic seldom needs. It becomes synced, a person answers a block or a stop, a
 * copy of the profile is met, a damaged copy is healed or one with deleted
 * records made anew, a tab has missed where its records are (platform/parts.ts).
 */
export { answerBlock, checkLeaving, describeBlock, leaveLog } from "../sync/answers.ts";
export { detach } from "../../sync/stop-syncing.ts";
export { claim } from "../../sync/claimer.ts";
export { OfferAgain } from "../../sync/offer-again.ts";
export { foundBehind, ownIn, standOf } from "../../sync/claim-look.ts";
export { placesOf } from "../../sync/place-search.ts";
export { becomeSynced } from "../../sync/become-synced.ts";
export { refusedOf } from "../../sync/adopted-look.ts";
export { heal } from "../../sync/healing.ts";
export { renew } from "../../sync/renewing.ts";
