/** typed.js of the package: schemas, event types and middleware, loaded by a page whose topics have such. */
export { typedTopic } from "../../typed/typed-topic.ts";
