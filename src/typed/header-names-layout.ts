/**
 * Headers of records in typed topics, which other readers may read as well (docs/typed.md).
 *
 *   tm.schema   "2", or "order/2"    version of the schema that the value fits, behind its name if it has one
 *   tm.type     "added"              the event's type, in a topic whose schema is events({ … })
 */
export const SCHEMA_HEADER = "tm.schema";
export const TYPE_HEADER = "tm.type";
