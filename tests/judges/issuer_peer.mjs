// Reads tokens of an issuer, which it finds by its address, a line at a time, and answers with their subject, or with
// what is wrong with them.
//
//     node issuer_peer.mjs <folder of packages> <issuer> <audience> <how>
//
//     at-once            with `jose`, which looks for a key that it does not know
//     remembers          with `jose`, which keeps what it was given for a second, as it is told, and looks for nothing before
//     oauth4webapi       with that package, by all rules of an access token (RFC 9068), from discovery on for each token

import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const [, , packages, issuer, audience, how] = process.argv;
const require = createRequire(`${packages}/any.js`);
const load = async (name) => import(pathToFileURL(require.resolve(name)));
const jose = await load("jose");
const oauth = await load("oauth4webapi");

const address = new URL(issuer);
const plain = { [oauth.allowInsecureRequests]: true };

async function discover() {
  return oauth.processDiscoveryResponse(address, await oauth.discoveryRequest(address, plain));
}

// Who is told that clocks differ by up to a minute: a slow machine makes no token old.
const clocks = 60;

async function reader() {
  if (how === "oauth4webapi") {
    return async (token) => {
      const request = new Request("https://api.example/", { headers: { authorization: `Bearer ${token}` } });
      const options = { ...plain, [oauth.clockTolerance]: clocks };
      return (await oauth.validateJwtAccessToken(await discover(), request, audience, options)).sub;
    };
  }
  const forever = 3_600_000;
  const age = how === "remembers" ? { cacheMaxAge: 1000, cooldownDuration: forever } : { cacheMaxAge: forever, cooldownDuration: 0 };
  const keys = jose.createRemoteJWKSet(new URL((await discover()).jwks_uri), age);
  const options = { issuer, audience, typ: "at+jwt", clockTolerance: clocks, requiredClaims: ["jti", "iat", "exp"] };
  return async (token) => (await jose.jwtVerify(token, keys, options)).payload.sub;
}

const read = await reader();
console.log("ready");
for await (const token of createInterface({ input: process.stdin })) {
  try {
    console.log(await read(token));
  } catch (error) {
    console.log(`${error.code ?? error.name}: ${error.message}`);
  }
}
