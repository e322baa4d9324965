/**
 * Which addresses a webhook may have: https to a public name or IPv4 address and, if open access is set, also this
 * machine. The URL parser has already normalised numbers in any notation, case and full-width letters. This code can't
 * know what a public name resolves to: the platform's network must refuse private addresses.
 */
import { EdgeError } from "../errors.ts";

/** Public domains whose names resolve to an address written in them, or to this machine. */
const LOOPBACK_NAMES = new RegExp(
  `(^|\\.)(${(
    "nip.io sslip.io xip.io localtest.me lvh.me vcap.me lacolhost.com yoogle.com traefik.me 1u.ms " +
    "rbndr.us local.gd localho.st"
  )
    .replaceAll(".", "\\.")
    .replaceAll(" ", "|")})$`,
);
/** Domains that are never public, and names of metadata services. */
const PRIVATE_NAMES =
  /(^|\.)(localhost|localdomain|local|internal|intranet|private|corp|home|lan|arpa|onion|test|invalid)$/;
/** Ports below this belong to other services, except 443. */
const FREE_PORT = 1_024;

export function checkWebhook(text: string, allowsLocalhost: boolean): void {
  const refuse = (why: string): never => {
    const allowed = `https:// with a public host, and port 443 or from ${FREE_PORT} on`;
    throw new EdgeError("WEBHOOK_URL_REJECTED", `webhook.url ${why}; it must be ${allowed}`);
  };
  const url = URL.parse(text);
  if (!url) return refuse("is not a URL");
  if (url.username !== "" || url.password !== "") return refuse("holds a user name or password");
  // A dot at the end does not change a name.
  const host = url.hostname.toLowerCase().replace(/\.+$/, "");
  const isLocalhost = host === "localhost" || host === "[::1]" || /^127\.\d+\.\d+\.\d+$/.test(host);
  if (isLocalhost && allowsLocalhost && /^https?:$/.test(url.protocol)) return;
  if (url.protocol !== "https:") return refuse(`begins with ${url.protocol}`);
  if (url.port !== "" && Number(url.port) < FREE_PORT) return refuse(`has port ${url.port}`);
  if (host.startsWith("[")) return refuse("has an IPv6 address for a host");
  const isAddress = /^[\d.]+$/.test(host);
  const isPublicName = host.includes(".") && !PRIVATE_NAMES.test(host) && !LOOPBACK_NAMES.test(host);
  const isPublic = isAddress ? isPublicAddress(host) : isPublicName;
  if (!isPublic) return refuse("has a host that is not public");
}

/** Addresses in the blocks of RFC 6890, multicast and broadcast are not public. */
function isPublicAddress(host: string): boolean {
  const parts = host.split(".").map(Number);
  if (parts.length !== 4 || parts.some((part) => !(part <= 255))) return false;
  const [a, b, c] = parts as [number, number, number, number];
  const isPrivate =
    a === 0 ||
    a === 10 ||
    a === 127 ||
    a >= 224 ||
    (a === 172 && b >= 16 && b < 32) ||
    (a === 192 && b === 168) ||
    (a === 169 && b === 254) ||
    (a === 100 && b >= 64 && b < 128) ||
    (a === 198 && (b === 18 || b === 19)) ||
    (a === 192 && b === 0 && (c === 0 || c === 2)) ||
    (a === 192 && b === 88 && c === 99) ||
    (a === 198 && b === 51 && c === 100) ||
    (a === 203 && b === 0 && c === 113);
  return !isPrivate;
}
