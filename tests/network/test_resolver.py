import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

HOSTS = """\
192.0.2.3 peer
192.0.2.1 peer
192.0.2.3 peer
2001:db8::1 peer
"""

ASK = "from hbd.net.resolver import resolve; print(resolve('peer', 862))"


@pytest.mark.root
def test_an_address_named_twice_is_one(tmp_path):
    """A name that /etc/hosts has several times gives each of its addresses once, for UDP."""
    hosts = tmp_path / "hosts"
    hosts.write_text(HOSTS)
    command = ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', hosts]
    command += [sys.executable, "-c", ASK]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for address in ("'192.0.2.1', 862", "'192.0.2.3', 862", "'2001:db8::1', 862, 0, 0"):
        assert told.count(address) == 1
