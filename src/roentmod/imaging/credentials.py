"""C2PA: PNG files that state under a signature that they are synthetic (extra ``c2pa``).

A signed file holds a manifest: what made it, IPTC's digital source type, and a hash of the file.
Who changes a byte breaks the signature; who takes the manifest off leaves an unsigned file. Which
signers are believed is decided by who verifies. Signatures are random, so that the bytes of a
signed file do not repeat.

Source: C2PA specification 2.2 (actions 18.15, certificates 14.5).
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import roentmod
from roentmod._optional import require
from roentmod.errors import EditError
from roentmod.imaging import provenance
from roentmod.imaging.raster import encode_picture
from roentmod.store import atomic, config_folder, file_sha256

__all__ = ["Signer", "load_signer"]

_LOCAL, _YEARS = "local", 10
_FORM = "A signature needs a PEM file of a certificate's chain, signer first, and its private key"
_CURVES = {256: "es256", 384: "es384", 521: "es512"}


@dataclass(frozen=True)
class Signer:
    """A certificate and its key; it pickles as the path of their file.

    Attributes:
        file: PEM of the chain, the signer's certificate first, and of the private key.
    """

    file: Path

    def __getstate__(self) -> dict[str, Any]:
        return {"file": self.file}

    def describe(self) -> dict[str, str]:
        """Return what a record says of the signer."""
        return {"sha256": file_sha256(self.file)}

    def sign(self, png: bytes, facts: Mapping[str, Any]) -> bytes:
        """Return a PNG with a signed manifest of what its facts say; its pixels are the same.

        Raises:
            EditError: certificate and key cannot be used, or the library refuses the file.
        """
        c2pa, out = require("c2pa"), io.BytesIO()
        try:
            builder = c2pa.Builder(json.dumps(_manifest(facts)), self._context)
            builder.sign(self._signer, "image/png", io.BytesIO(png), out)
        except (c2pa.C2paError, ValueError, TypeError) as error:
            raise EditError(
                f"{_FORM}; signing with {self.file.name} gave '{error}'. Correct it, or give "
                f"'{_LOCAL}'."
            ) from error
        return out.getvalue()

    @cached_property
    def _context(self) -> Any:
        c2pa = require("c2pa")
        words = {"builder": {"thumbnail": {"enabled": False}}}
        return c2pa.Context(c2pa.Settings.from_dict(words))

    @cached_property
    def _signer(self) -> Any:
        c2pa = require("c2pa")
        from cryptography.hazmat.primitives import serialization as forms

        text = self.file.read_bytes()
        key = forms.load_pem_private_key(text, None)
        plain = key.private_bytes(
            forms.Encoding.PEM, forms.PrivateFormat.PKCS8, forms.NoEncryption()
        )
        start, end = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"
        chain = [part.partition(end)[0] for part in text.split(start)[1:]]
        whole = b"".join(b"%s%s%s\n" % (start, body, end) for body in chain)
        kind = _CURVES.get(getattr(key, "key_size", 0), "ps256")
        kind = "ed25519" if "Ed25519" in type(key).__name__ else kind
        return c2pa.Signer.from_info(c2pa.C2paSignerInfo(kind.encode(), whole, plain, None))


def load_signer(spec: str) -> Signer:
    """Return a signer that works: of a PEM file, or "local", which is made where there is none.

    The local one is a certificate of an authority whose key is thrown away, in ``c2pa.pem`` of the
    user's configuration folder: it says that two files have one signer, and not who that is.

    Raises:
        MissingDependencyError: the extra is not installed.
        EditError: there is no such file, or it cannot be used.
    """
    require("c2pa")
    signer = Signer(config_folder() / "c2pa.pem" if spec == _LOCAL else Path(spec))
    try:
        if spec == _LOCAL and not signer.file.exists():
            signer.file.parent.mkdir(parents=True, exist_ok=True)
            with atomic(signer.file) as part:
                part.chmod(0o600)
                part.write_bytes(_made())
        signer.sign(encode_picture(Image.fromarray(np.zeros((8, 8), np.uint8)), {}), {})
    except OSError as error:
        raise EditError(
            f"{_FORM}; {signer.file.name} gave '{error.strerror}'. Check the path, or give "
            f"'{_LOCAL}'."
        ) from error
    return signer


def _manifest(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is claimed of a file."""
    tool = {"name": "RoentMod", "version": roentmod.__version__}
    action = {
        "action": "c2pa.created",
        "digitalSourceType": provenance.source_type(facts),
        "softwareAgent": tool,
        "description": provenance.STATEMENT,
    }
    return {
        "claim_generator_info": [tool],
        "title": provenance.title(facts),
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [action]}}],
    }


def _made() -> bytes:
    """Return chain and key of a new certificate: C2PA refuses one that signed itself."""
    from cryptography.hazmat.primitives import serialization as forms
    from cryptography.hazmat.primitives.asymmetric import ec

    root, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    chain = [_certificate("signer", key, root), _certificate("root", root, root)]
    pem = [one.public_bytes(forms.Encoding.PEM) for one in chain]
    words = (forms.Encoding.PEM, forms.PrivateFormat.PKCS8, forms.NoEncryption())
    return b"".join([*pem, key.private_bytes(*words)])


def _certificate(role: str, key: Any, root: Any) -> Any:
    """Return a certificate of a key, the authority's own or the signer's, signed by the first."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    def name(what: str) -> Any:
        common = x509.NameAttribute(x509.NameOID.COMMON_NAME, f"RoentMod local {what}")
        return x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "RoentMod"), common])

    authority, now = role == "root", datetime.now(timezone.utc)
    uses = ("key_encipherment", "data_encipherment", "key_agreement", "content_commitment")
    usage = dict.fromkeys((*uses, "encipher_only", "decipher_only"), False)
    usage |= {"digital_signature": not authority, "key_cert_sign": authority, "crl_sign": authority}
    made = (
        x509.CertificateBuilder(name("root"), name(role), key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=365 * _YEARS))
        .add_extension(x509.BasicConstraints(authority, 0 if authority else None), True)
        .add_extension(x509.KeyUsage(**usage), True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root.public_key()), False)
    )
    if not authority:
        purpose = x509.ExtendedKeyUsageOID.EMAIL_PROTECTION
        made = made.add_extension(x509.ExtendedKeyUsage([purpose]), False)
    return made.sign(root, hashes.SHA256())
