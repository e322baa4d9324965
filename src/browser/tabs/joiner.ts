/**
 * How a follower connects to the leader's worker. It makes a pair of ports, and the broker brings one of them to the
 * leader's page. Where no port can be sent, it opens a channel and tells the leader's page the channel's name in the
 * lobby (lobby-words.ts).
 */
import { TidemarkError } from "../../errors.ts";
import type { Broker } from "./broker-client.ts";
import { channelPort } from "../port/channel.ts";
import type { Word } from "./lobby-words.ts";
import type { Member } from "./member.ts";
import { newPortLock } from "./locks.ts";
import { takeLock } from "../platform/locks.ts";
import { PortClient } from "../port/port-client.ts";
import { type JoinRequest, type Opened, type PortOrName, PROTOCOL_VERSION } from "../port/protocol.ts";

interface Ends {
  readonly connection: PortClient;
  readonly theirs: PortOrName;
}

function byPort(leader: string, release: () => void): Ends {
  const { port1, port2: theirs } = new MessageChannel();
  return { connection: new PortClient(port1, leader, release), theirs };
}

/** `name` is the name of the channel that takes the port's place. */
function byChannel(leader: string, release: () => void, name: string): Ends {
  const channels: MessagePort[] = [];
  const open = (channelName: string): MessagePort => {
    const channel = channelPort(channelName);
    channels.push(channel);
    return channel;
  };
  const stop = (): void => {
    release();
    for (const channel of channels) channel.close();
  };
  const pair = (): [MessagePort, string] => {
    const next = newPortLock();
    return [open(next), next];
  };
  return { connection: new PortClient(open(name), leader, stop, pair), theirs: name };
}

interface Way {
  readonly leader: string;
  readonly since: number;
  connection?: PortClient;
}
/**
 * Ends a connection if its worker turns out to be of an older term than the one that this tab knows: that worker was
 * deposed, and does not know it yet.
 */
export function refusePast(tide: Member, connection: PortClient): void {
  const judge = (opened: unknown): void => {
    if ((opened as Opened).epoch < (tide.opened?.epoch ?? 0))
      connection.fail(new TidemarkError("CLOSED", "another tab leads now"));
  };
  connection.ready.then(judge, () => undefined);
}

/** A join without an answer after this time counts as lost (its broker may have died), and is tried again. */
const JOIN_RETRY_MS = 1_000;

export class Joiner {
  readonly #tide: Member;
  readonly #broker: Broker;
  readonly #say: (word: Word) => void;
  /** The join that is under way. */
  #way: Way | undefined;
  via: "port" | "broadcast" = "port";
  /** Name of the lock that this tab holds as long as it keeps its port to the leader. */
  life = "";

  constructor(tide: Member, broker: Broker, say: (word: Word) => void) {
    this.#tide = tide;
    this.#broker = broker;
    this.#say = say;
  }

  isOnItsWay(leader: string): boolean {
    return this.#way?.leader === leader && performance.now() < this.#way.since + JOIN_RETRY_MS;
  }

  /** Resolves when calls go to this leader, or the join has failed. */
  async join(leader: string, broker: string | undefined): Promise<void> {
    this.leave();
    const life = newPortLock();
    const way: Way = (this.#way = { leader, since: performance.now() });
    await this.#broker.tried;
    const release = await takeLock(life, {}).catch(() => undefined);
    // The page is about to go: it gets no lock any more, and without one it can't be let in.
    if (!release) return this.#end(way);
    const hasBroker = broker !== undefined && broker === this.#broker.id;
    const { connection, theirs } = (hasBroker ? byPort : byChannel)(leader, release, life);
    way.connection = connection;
    refusePast(this.#tide, connection);
    try {
      this.#check(way);
      const join: JoinRequest = { op: "join", port: theirs, life };
      if (hasBroker) this.#broker.send({ to: leader, join });
      else this.#say({ to: leader, version: PROTOCOL_VERSION, join });
      connection.watch();
      await connection.ready;
      this.#check(way);
      this.via = hasBroker ? "port" : "broadcast";
      this.life = life;
      await this.#tide.use(connection, "follower");
    } catch (thrown) {
      connection.fail(TidemarkError.from(thrown));
    } finally {
      this.#end(way);
    }
  }

  #end(way: Way): void {
    if (this.#way === way) this.#way = undefined;
  }

  /** When the answer comes, this tab may already be joining another leader, or lead: then this join is over. */
  #check(way: Way): void {
    if (this.#way !== way) throw new TidemarkError("CLOSED", "cancelled");
  }

  /** Cancels the join that is under way. */
  leave(): void {
    this.#way?.connection?.fail(new TidemarkError("CLOSED", "cancelled"));
    this.#way = undefined;
  }

  /**
   * The leader has another version, and neither tab can read the other's messages. The leader is told. The tide ends in
   * this tab, which might otherwise do harm or wait for ever.
   */
  differ(leader: string, theirs: number): void {
    const versions = { ours: PROTOCOL_VERSION, theirs };
    this.#say({ to: leader, version: PROTOCOL_VERSION, join: { op: "join", port: "", life: "" } });
    this.#tide.tell({ type: "version", ...versions });
    this.#tide.end(new TidemarkError("UNSUPPORTED_FORMAT", "another tab runs another version of Tidemark", versions));
  }
}
