/**
 * Bindings and settings of the worker, as wrangler.jsonc names them. Every setting is text; docs/edge.md explains each.
 */
import type { AnalyticsEngineDataset, DurableObjectNamespace, R2Bucket, RateLimit } from "@cloudflare/workers-types";

export interface Env {
  readonly LOGS: DurableObjectNamespace;
  readonly SUBSCRIPTIONS: DurableObjectNamespace;
  /** Bucket for sealed segments. Without it everything stays in the objects' own SQLite. */
  readonly SEGMENTS?: R2Bucket;
  /** Events are written there as data points. */
  readonly EVENTS?: AnalyticsEngineDataset;
  /** The platform's rate limiter, checked for each tenant and stream. */
  readonly RATE_LIMIT?: RateLimit;
  /** Requests per second that one stream takes, if RATE_LIMIT is not bound. Default: only the platform's own limit. */
  readonly TIDEMARK_RATE_PER_SECOND?: string;
  /** Which events are logged: all, changes (the default) or none. */
  readonly TIDEMARK_EVENTS?: string;
  /** "loopback": requests to a loopback host need no token. For development only. */
  readonly TIDEMARK_OPEN_ACCESS?: string;
  /** HS256 secrets, newest first, separated by commas. */
  readonly TIDEMARK_JWT_SECRETS?: string;
  /** Address of a JWKS, for RS256, ES256, EdDSA. */
  readonly TIDEMARK_JWKS_URL?: string;
  readonly TIDEMARK_JWT_ISSUER?: string;
  readonly TIDEMARK_JWT_AUDIENCE?: string;
  /** How long a long-poll waits. Default 20,000. */
  readonly TIDEMARK_LONG_POLL_MS?: string;
  /** How long one SSE answer lasts before the client connects anew. Default 60,000. */
  readonly TIDEMARK_SSE_MS?: string;
  /** An SSE answer sends a comment after this long without an event. Default 15,000. */
  readonly TIDEMARK_SSE_HEARTBEAT_MS?: string;
  /** An SSE answer whose client does not read is ended this long after its regular end. Default 15,000. */
  readonly TIDEMARK_SSE_STALLED_MS?: string;
  /**
   * How often the Worker looks at a WebSocket's client: one that sent nothing between two looks gets a ping. If it
   * is still silent at the next look, its socket is closed. Default 30,000.
   */
  readonly TIDEMARK_SOCKET_SILENT_MS?: string;
  /** "off": joins and pushes of devices are refused. For the first of two deployments (docs/operations.md). */
  readonly TIDEMARK_SYNC?: string;
  /** Bytes that an object's database may have before appends are refused. Default: 9,900,000,000. */
  readonly TIDEMARK_DATABASE_BYTES?: string;
  /** Days after which an outbox that was not used is forgotten. Default: never. */
  readonly TIDEMARK_OUTBOX_DAYS?: string;
}

export function numberOf(value: string | undefined, otherwise: number): number {
  const parsed = Number(value ?? NaN);
  return Number.isFinite(parsed) && parsed > 0 ? parsed : otherwise;
}

const DAY_MS = 24 * 3_600_000;

export function outboxMaxAgeMs({ TIDEMARK_OUTBOX_DAYS }: Env): number | undefined {
  const days = numberOf(TIDEMARK_OUTBOX_DAYS, 0);
  return days === 0 ? undefined : days * DAY_MS;
}
