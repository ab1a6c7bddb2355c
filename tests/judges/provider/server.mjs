// An identity provider, by the package `oidc-provider`. It says its address, and then obeys, a line at a time, and answers each with a line.
//
//     node server.mjs <folder of packages> <clients, in JSON>
//
//     counts             how often it was asked for each path, in JSON
//     rotate             another key signs, and the one before it is still published
//     replace            the same, and all that were there are gone
//     down, up           nobody listens on its port, and somebody does again

import { once } from "node:events";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

// It says that it is not set up for production.
console.warn = console.info = () => {};

const [, , packages, clients] = process.argv;
const require = createRequire(`${packages}/any.js`);
const load = async (name) => import(pathToFileURL(require.resolve(name)));
const { Provider, errors } = await load("oidc-provider");
const jose = await load("jose");

const ALGORITHMS = ["RS256", "PS256", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"];

// What tokens can be for: `https://<algorithm>.example` takes those that are signed so, `https://opaque.example` those that say nothing.
// `https://<algorithm>-3.example` is given those that are good for three seconds.
function getResourceServerInfo(_context, resource) {
  const [, what, seconds] = /^https:\/\/(\w+)(?:-(\d+))?\.example$/.exec(resource) ?? [];
  const alg = ALGORITHMS.find((name) => name.toLowerCase() === what);
  if (!alg && what !== "opaque") throw new errors.InvalidTarget();
  return {
    scope: "stock:read stock:write",
    audience: resource,
    accessTokenTTL: Number(seconds ?? 600),
    accessTokenFormat: alg ? "jwt" : "opaque",
    jwt: alg ? { sign: { alg } } : undefined,
  };
}

async function keys() {
  const pairs = await Promise.all(ALGORITHMS.map((alg) => jose.generateKeyPair(alg, { extractable: true })));
  const jwks = await Promise.all(pairs.map(({ privateKey }) => jose.exportJWK(privateKey)));
  return jwks.map((jwk, at) => ({ ...jwk, alg: ALGORITHMS[at], use: "sig" }));
}

const counts = {};
let port = 0;
let handler;
let published = [];
const server = createServer((request, response) => {
  const path = new URL(request.url, "http://any").pathname;
  counts[path] = (counts[path] ?? 0) + 1;
  handler(request, response);
});

async function publish(all) {
  published = all;
  const provider = new Provider(`http://127.0.0.1:${port}`, {
    clients: JSON.parse(clients),
    clientAuthMethods: ["client_secret_basic", "client_secret_post", "private_key_jwt"],
    enabledJWA: { clientAuthSigningAlgValues: ["EdDSA", "ES256"] },
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      introspection: { enabled: true, allowedPolicy: () => true },
      resourceIndicators: { enabled: true, getResourceServerInfo },
      revocation: { enabled: true, allowedPolicy: () => true },
    },
    jwks: { keys: published },
    scopes: ["stock:read", "stock:write"],
  });
  handler = provider.callback();
}

async function up() {
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  ({ port } = server.address());
}

async function down() {
  server.close();
  server.closeAllConnections();
  await once(server, "close");
}

const commands = {
  counts: () => counts,
  rotate: async () => publish([...(await keys()), ...published]),
  replace: async () => publish(await keys()),
  down,
  up,
};

await up();
await publish(await keys());
console.log(`http://127.0.0.1:${port}`);
for await (const line of createInterface({ input: process.stdin })) {
  const answer = await commands[line]();
  console.log(JSON.stringify(answer ?? "done"));
}
process.exit(0);
