/**
 * Which addresses a webhook may have. The tests run inside workerd, because its URL parser decides: an address may be
 * written in many ways that all mean this machine.
 */
import { expect, it } from "vitest";
import { checkWebhook } from "../../worker/subscriptions/webhook-address.ts";

/**
 * Addresses of this machine, of private networks and of metadata services in many spellings, and texts that are no
 * HTTPS address.
 */
const REFUSED = [
  "https://localhost./hook",
  "https://LocalHost/hook",
  "https://localhost../h",
  "https://a.localhost/",
  "https://a.localhost./",
  "https://127.0.0.1./",
  "https://127.1/",
  "https://2130706433/",
  "https://0x7f000001/",
  "https://0177.0.0.1/",
  "https://0x7f.1/",
  "https://１２７.0.0.1/",
  "https://%6c%6fcalhost/",
  "https://ⓛocalhost/",
  "https://[::1]/",
  "https://[::ffff:127.0.0.1]/",
  "https://[::ffff:7f00:1]/",
  "https://[0:0:0:0:0:0:0:1]/",
  "https://[fe80::1]/",
  "https://[fd00:ec2::254]/",
  "https://[64:ff9b::7f00:1]/",
  "https://169.254.169.254/latest/meta-data",
  "https://169.254.1/",
  "https://metadata.google.internal/",
  "https://metadata.google.internal./",
  "https://metadata/",
  "https://100.100.100.200/",
  "https://192.0.0.192/",
  "https://10.0.0.1/",
  "https://172.31.255.255/",
  "https://192.168.1.1/",
  "https://0.0.0.0/",
  "https://255.255.255.255/",
  "https://224.0.0.1/",
  "https://198.18.0.1/",
  "https://localtest.me/",
  "https://x.LVH.me/",
  "https://127.0.0.1.nip.io/",
  "https://printer.local/",
  "https://router.lan./",
  "https://x.home.arpa/",
  "https://a.corp/",
  "https://user@example.com/",
  "https://user:pw@example.com/",
  "https://:pw@example.com/",
  "http://example.com/",
  "ftp://example.com/",
  "javascript:alert(1)",
  "//example.com/",
  "example.com",
  "https://example.com:22/",
  "https://example.com:80/",
  "https://",
  "https://example.com:99999/",
  "data:text/plain,x",
];

const TAKEN = [
  "https://example.com/hook",
  "https://EXAMPLE.com./hook?x=1",
  "https://hooks.example.co.uk:8443/",
  "https://8.8.8.8/",
  "https://bücher.example/",
  "https://example.com:443/",
];

const codeFor = (url: string, allowsLocalhost = false): string => {
  try {
    checkWebhook(url, allowsLocalhost);
    return "taken";
  } catch (thrown) {
    return (thrown as { code: string }).code;
  }
};

it.each(REFUSED)("%s is refused", (url) => {
  expect(codeFor(url)).toBe("WEBHOOK_URL_REJECTED");
});

it.each(TAKEN)("%s is taken", (url) => {
  expect(codeFor(url)).toBe("taken");
});

it("with open access this machine is taken, and nothing else that is private", () => {
  for (const url of [
    "http://localhost:9/h",
    "http://localhost.:9/h",
    "http://127.0.0.1:9/",
    "https://[::1]:9/",
    "http://127.9.9.9/",
  ])
    expect([url, codeFor(url, true)]).toEqual([url, "taken"]);
  for (const url of ["http://user@localhost/", "http://192.168.0.1/", "ftp://localhost/", "http://example.com/"])
    expect([url, codeFor(url, true)]).toEqual([url, "WEBHOOK_URL_REJECTED"]);
});
