"""Reads tokens of an issuer, which it finds by its address, a line at a time, with the package joserfc, and answers with their subject, or
with what is wrong with them. What it was given it keeps for as long as it was told to, and looks for nothing before.

    python issuer_peer.py <issuer> <audience>
"""

import json
import re
import sys
import time
import warnings
from urllib.request import urlopen

from joserfc import jwt
from joserfc.jwk import KeySet

warnings.simplefilter("ignore")  # EdDSA has another name as well since RFC 9864.
issuer, audience = sys.argv[1:]
claims = jwt.JWTClaimsRegistry(
    leeway=60,  # A slow machine makes no token old.
    iss={"essential": True, "value": issuer},
    aud={"essential": True, "value": audience},
    exp={"essential": True},
)


def get(address):
    with urlopen(address, timeout=10) as answer:
        age = re.search(r"max-age=(\d+)", answer.headers["cache-control"])
        return json.load(answer), time.monotonic() + int(age[1])


configuration, _ = get(issuer + "/.well-known/openid-configuration")
assert configuration["issuer"] == issuer
algorithms = configuration["id_token_signing_alg_values_supported"]
keys, old = None, 0


def read(token):
    global keys, old
    if time.monotonic() >= old:
        published, old = get(configuration["jwks_uri"])
        keys = KeySet.import_key_set(published)
    found = jwt.decode(token, keys, algorithms=algorithms)
    claims.validate(found.claims)
    return found.claims["sub"]


print("ready", flush=True)
for line in sys.stdin:
    try:
        print(read(line.strip()), flush=True)
    except Exception as error:
        print(f"{type(error).__name__}: {error}", flush=True)
