/**
 * answers.js of the package: what a synced topic seldom needs (platform/parts.ts). It is loaded when
 *
 *   - a topic becomes synced
 *   - a person answers a block or a stop
 *   - a copy of the profile is met
 *   - a damaged copy is healed, or a copy with deleted records is made anew
 *   - a tab has missed where its records are
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
