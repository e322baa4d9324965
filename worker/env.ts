/**
 * Bindings and settings of the worker, as wrangler.jsonc names them. Every setting is text; docs/edge.md explains each.
 */
import type { AnalyticsEngineDataset, DurableObjectNamespace, R2Bucket, RateLimit } from "@cloudflare/workers-types";

export interface Env {
  readonly LOGS: DurableObjectNamespace;
  readonly SUBSCRIPTIONS: DurableObjectNamespace;
  /** Sealed segments go there. Without it everything stays in the objects' own SQLite. */
  readonly SEGMENTS?: R2Bucket;
  /** Events become data points there. */
  readonly EVENTS?: AnalyticsEngineDataset;
  /** The platform's rate limiter, asked per tenant and stream. */
  readonly RATE_LIMIT?: RateLimit;
  /** Without it: requests that one stream takes per second. Default: no bound but the platform's. */
  readonly TIDEMARK_RATE_PER_SECOND?: string;
  /** Which events are logged: all, changes (the default), none. */
  readonly TIDEMARK_EVENTS?: string;
  /** "loopback": no token is asked of requests to a loopback host. For development only. */
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
  /** After how long without an event an SSE answer carries a comment. Default 15,000. */
  readonly TIDEMARK_SSE_HEARTBEAT_MS?: string;
  /** How long after its time an SSE answer is kept for a client that does not read it. Default 15,000. */
  readonly TIDEMARK_SSE_STALLED_MS?: string;
  /**
   * After how long without a word a WebSocket's client is asked whether it is there; given up as long after. Default
   * 30,000.
   */
  readonly TIDEMARK_SOCKET_SILENT_MS?: string;
  /** "off": no device may join or push. For the first of two deployments (docs/operations.md). */
  readonly TIDEMARK_SYNC?: string;
  /** Days after which an outbox that nobody has seen is forgotten. Default: never. */
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
