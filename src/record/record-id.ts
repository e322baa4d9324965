/**
 * The name of a record, the same at each of its places: in an outbox, at the edge, on every device.
 *
 *   <producer id>-<producer epoch>-<sequence>    each in base 36
 *   <offset>                                     of a record without a producer, which keeps its offset
 */
export interface RecordOwner {
  readonly producerId: number;
  readonly producerEpoch: number;
  readonly baseSequence: number;
}

/** Sequences wrap, as Kafka's do. */
const SEQUENCES = 2 ** 31;

/** All of the name but the sequence: a batch's records share it. */
export const ownerName = ({ producerId, producerEpoch }: RecordOwner): string =>
  `${producerId.toString(36)}-${producerEpoch.toString(36)}-`;

export const sequenceName = ({ baseSequence }: RecordOwner, at: number): string =>
  ((baseSequence + at) % SEQUENCES).toString(36);

/** The name of the record that is the `at`-th of its batch, counted from 0 by offsets. */
export const recordId = (owner: RecordOwner, at: number): string => ownerName(owner) + sequenceName(owner, at);
