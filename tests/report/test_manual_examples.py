"""What hbd(8) shows of each protocol can be copied, and it explains every cause."""

import re
import subprocess
from pathlib import Path

import pytest

from hbd.config.files import load
from hbd.core.model import Cause
from hbd.report.kinds import Kind
from hbd.report.manual import MARKED, filled
from hbd.report.ways import TRANSPORTS

ROOT = Path(__file__).parents[2]
MANUAL = ROOT / "packaging" / "man" / "hbd.8"
README = ROOT / "README.md"


def section(title):
    return MANUAL.read_text().split(f".SH {title}\n")[1].split("\n.SH ")[0]


def subsections():
    """The text under each protocol's name."""
    parts = section("PROTOCOLS").split(".SS ")[1:]
    return {part.split("\n")[0]: part for part in parts}


def examples(text, kind):
    """The files in the text whose first line says that they are of this kind."""
    blocks = re.findall(r"^\.EX\n(.*?)^\.EE$", text, re.MULTILINE | re.DOTALL)
    plain = [block.replace("\\-", "-").replace("\\e", "\\") for block in blocks]
    return [block for block in plain if re.match(rf"# \S*{kind}\n", block)]


PROTOCOLS = subsections()
FILES = [
    pytest.param(protocol, text, id=f"{protocol}-{number}")
    for protocol, part in PROTOCOLS.items()
    for number, text in enumerate(examples(part, r"hbd\.yaml"))
]
TOYS = [text for part in PROTOCOLS.values() for text in examples(part, r"\.py")]


def loaded(text, tmp_path):
    file = tmp_path / "hbd.yaml"
    file.write_text(text)
    return load(str(file)).configuration


def test_each_protocol_has_its_place_and_an_example():
    """Each protocol has a subsection, and a configuration in it."""
    assert set(PROTOCOLS) == set(TRANSPORTS)
    assert {file.values[0] for file in FILES} == set(TRANSPORTS)
    assert len(TOYS) == 2


@pytest.mark.parametrize(("protocol", "text"), FILES)
def test_example_of_a_protocol_is_good(protocol, text, tmp_path):
    """The configuration that is shown has no mistakes, and all its peers speak the protocol."""
    peers = loaded(text, tmp_path).peers
    assert peers
    assert {peer.protocol for peer in peers} == {protocol}


def test_example_with_escapes_says_what_it_means(tmp_path):
    """The line end in the example of tcp is one when it is read."""
    (text,) = examples(PROTOCOLS["tcp"], r"hbd\.yaml")
    first, *_ = loaded(text, tmp_path).peers
    assert (first.send, first.expect_reply) == (b"PING\r\n", b"+PONG")


@pytest.mark.parametrize("text", TOYS)
def test_toy_is_a_program(text):
    """What is shown for the other end in Python compiles."""
    compile(text, "toy.py", "exec")


def test_manual_explains_every_cause():
    """Each cause is a headword, under CAUSES or under its protocol."""
    text = section("CAUSES") + section("PROTOCOLS")
    headwords = re.findall(r"^\.TP\n\.BR? (.+)$", text, re.MULTILINE)
    named = {word for line in headwords for word in re.findall(r"[a-z-]+", line)}
    assert set(Cause) <= named


@pytest.mark.parametrize("file", [MANUAL, README], ids=lambda file: file.name)
def test_what_is_said_of_causes_is_made_from_their_table(file):
    """Manual and README say what the table says (python3 -m hbd.report.manual FILE)."""
    text = file.read_text()
    assert filled(text) == text


def test_each_place_for_causes_is_marked():
    """The manual has a place for the causes of all, of each protocol and of who is told."""
    marks = [match["name"] for match in MARKED.finditer(MANUAL.read_text())]
    assert sorted(marks) == sorted(["causes", "told", *TRANSPORTS])


def test_readme_names_every_cause():
    """Each cause is in the README's table."""
    (table,) = MARKED.finditer(README.read_text())
    assert set(Cause) <= set(re.findall(r"`([a-z-]+)`", table["text"]))


def test_manual_names_every_field_of_the_journal_and_every_kind_of_entry():
    """What the program writes is in JOURNAL FIELDS."""
    text = section('"JOURNAL FIELDS"').replace("\\-", "-")
    sources = (ROOT / "hbd" / "report").glob("*.py")
    program = "\n".join(file.read_text() for file in sources)
    written = set(re.findall(r'"(HBD_[A-Z_]+)"', program))
    assert written
    assert [name for name in sorted(written) if name not in text] == []
    [events] = re.findall(r"^\.B HBD_EVENT\n(.*?)^\.TP", text, re.MULTILINE | re.DOTALL)
    assert [kind for kind in Kind if not re.search(rf"[ \n]{kind}[ ,;\n]", events)] == []


def test_manual_has_no_warnings():
    """The manual is set without a warning of groff's."""
    command = ["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", str(MANUAL)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""


@pytest.mark.parametrize("text", re.findall(r"```yaml\n(.*?)```", README.read_text(), re.DOTALL))
def test_example_of_the_readme_is_good(text, tmp_path):
    """What the README shows of the configuration has no mistakes."""
    assert loaded(text, tmp_path).peers
