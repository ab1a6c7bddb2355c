"""Reads tokens that others made, and makes some, with joserfc. In and out in JSON."""

import json
import sys

from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey, import_key

CLAIMS = {"iss": "joserfc", "aud": "judge", "sub": "alice", "exp": 4102444800}
CURVES = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}


def new_key(alg):
    if alg.startswith("HS"):
        return OctKey.generate_key(512)
    if alg in CURVES:
        return ECKey.generate_key(CURVES[alg])
    if alg == "EdDSA":
        return OKPKey.generate_key("Ed25519")
    return RSAKey.generate_key(2048)


def read(alg, jwk, token):
    try:
        return jwt.decode(token, import_key(jwk), algorithms=[alg]).claims["sub"]
    except Exception:
        return None


def make(alg):
    key = new_key(alg)
    token = jwt.encode({"alg": alg}, CLAIMS, key, algorithms=[alg])
    return {"alg": alg, "jwk": key.as_dict(private=alg.startswith("HS")), "token": token}


asked = json.load(sys.stdin)
json.dump(
    {
        "read": [read(one["alg"], one["jwk"], one["token"]) for one in asked],
        "made": [make(alg) for alg in dict.fromkeys(one["alg"] for one in asked)],
    },
    sys.stdout,
)
