// Reads tokens that others made, and makes some, with the package `jose`. In and out in JSON.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(`${process.argv[2]}/any.js`);
const jose = await import(pathToFileURL(require.resolve("jose")));

const claims = { iss: "jose", aud: "judge", sub: "alice", exp: 4102444800 };

async function read({ alg, jwk, token }) {
  try {
    const key = await jose.importJWK(jwk, alg);
    return (await jose.jwtVerify(token, key, { algorithms: [alg] })).payload.sub;
  } catch {
    return null;
  }
}

async function make(alg) {
  let ours, theirs;
  if (alg.startsWith("HS")) {
    ours = theirs = await jose.generateSecret(alg, { extractable: true });
  } else {
    ({ privateKey: ours, publicKey: theirs } = await jose.generateKeyPair(alg, { extractable: true }));
  }
  const token = await new jose.SignJWT(claims).setProtectedHeader({ alg }).sign(ours);
  return { alg, jwk: await jose.exportJWK(theirs), token };
}

const asked = JSON.parse(readFileSync(0, "utf8"));
const algorithms = [...new Set(asked.map(({ alg }) => alg))];
const answer = { read: await Promise.all(asked.map(read)), made: await Promise.all(algorithms.map(make)) };
process.stdout.write(JSON.stringify(answer));
