"""The hostile suite, in a network namespace with loopback alone, with a name server and certificates of its own.

By hand: python -m pytest tests/windrow/scoring/test_hostile_web.py -s
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

SUITE = Path(__file__).parent / "hostile" / "suite.py"
# The second way is for those who are not root.
NAMESPACES = (["unshare", "-n", "-m"], ["unshare", "-r", "-n", "-m"])
ALONE = 'ip link set lo up && mount --make-rprivate / && mount --bind "$0" /etc/resolv.conf'


def namespace(resolver: Path) -> list[str]:
    """The command that runs a command where only loopback is, and names are looked up at 127.0.0.1."""
    if shutil.which("unshare") is None:
        pytest.skip("needs network namespaces: there is no unshare here")
    resolver.write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    for unshare in NAMESPACES:
        command = [*unshare, "sh", "-c", f'{ALONE} && exec "$@"', str(resolver)]
        tried = subprocess.run([*command, "true"], capture_output=True, text=True)
        if tried.returncode == 0:
            return command
    pytest.skip(f"needs network and mount namespaces, which are not permitted here: {tried.stderr.strip()}")


def make_certificates(folder: Path) -> None:
    """authority.pem, and beside it a NAME.pem a host: right, of another name, expired, and signed by nobody."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    def sign(name: str, file: str, days: int, by: tuple[x509.Name, ec.EllipticCurvePrivateKey] | None) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer, signer = by or (subject, key)
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - timedelta(days=400))
            .not_valid_after(now + timedelta(days=days))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .sign(signer, hashes.SHA256())
        )
        form = serialization.Encoding.PEM
        private = key.private_bytes(form, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        (folder / file).write_bytes(private + certificate.public_bytes(form))

    root = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")])
    now = datetime.now(UTC)
    authority = (
        x509.CertificateBuilder(name, name, root.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=400))
        .not_valid_after(now + timedelta(days=400))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(root, hashes.SHA256())
    )
    (folder / "authority.pem").write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    sign("tls.test", "tls.test.pem", 10, (name, root))
    sign("other.test", "wrong-name.test.pem", 10, (name, root))
    sign("expired.test", "expired.test.pem", -10, (name, root))
    sign("self-signed.test", "self-signed.test.pem", 10, None)


@pytest.mark.tensorflow
@pytest.mark.timeout(600)
def test_the_hostile_suite_passes_where_nothing_can_leave_the_machine(tmp_path: Path) -> None:
    command = namespace(tmp_path / "resolv.conf")
    make_certificates(tmp_path)
    variables = {
        "SSL_CERT_FILE": str(tmp_path / "authority.pem"),
        "WINDROW_TEST_CERTIFICATES": str(tmp_path),
    }
    pytest_ = [sys.executable, "-m", "pytest", "-q", "--tb=native", "-p", "no:cacheprovider", str(SUITE)]
    root = SUITE.parents[4]
    done = subprocess.run(
        [*command, *pytest_], env={**os.environ, **variables}, cwd=root, capture_output=True, text=True, timeout=580
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) >= 40
    assert "skipped" not in done.stdout
