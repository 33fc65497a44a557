"""What hbd-mail makes of what the journal tells, with a journalctl and a sendmail of ours."""

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "packaging/hbd-mail.sh"
SENDMAIL = """#!/bin/sh
cat > "$MAILS/mail.$(date +%s%N)"
"""


@pytest.fixture
def mails(tmp_path):
    """Give a function that runs hbd-mail on what a shell script prints; it gives the mails."""

    def made(script):
        for name, text in (("journalctl", f"#!/bin/sh\n{script}\n"), ("sendmail", SENDMAIL)):
            (tmp_path / name).write_text(text)
            (tmp_path / name).chmod(0o755)
        environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "MAILS": str(tmp_path)}
        subprocess.run([SCRIPT, "root"], env=environment, check=True, timeout=30)
        return [file.read_text() for file in sorted(tmp_path.glob("mail.*"))]

    return made


@pytest.mark.slow
def test_a_flood_is_few_mails(mails):
    """Of a thousand warnings one mail tells, how many they were and how they began."""
    flood = "i=0; while [ $i -lt 1000 ]; do i=$((i + 1)); echo peer $i flaps; done"
    first, second = mails(f"{flood}; sleep 2.5; echo db1 is down; sleep 0.5; echo db2 is down")
    assert ": 1000 warnings: peer 1 flaps\n" in first
    assert "\npeer 100 flaps\nand 900 more: " in first
    assert "peer 101 flaps" not in first
    assert second.endswith("\n\ndb1 is down\ndb2 is down\n")


@pytest.mark.slow
def test_one_warning_is_one_mail_without_headers_of_its_own(mails):
    """What could pass for a header or an end is only text, and no line is too long."""
    (mail,) = mails("printf '%s\\r\\033[2JBcc: all\\n.\\n%05000d\\n' down 0")
    head, _, body = mail.partition("\n\n")
    assert [line.partition(":")[0] for line in head.split("\n")] == [
        "To", "Subject", "MIME-Version", "Content-Type",
    ]  # fmt: skip
    assert head.split("\n")[1].endswith(": 3 warnings: down[2JBcc: all")
    assert body.split("\n") == ["down[2JBcc: all", ".", "0" * 2000, ""]
