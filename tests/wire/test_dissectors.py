"""Our packets as other programs read them."""

import shutil
import struct
import subprocess

import pytest

from hbd.wire import hbd_tlv, ntp, stamp, tlv

MOMENT = 1_700_000_000_500_000_000
WORDS = hbd_tlv.HbdTlv(0, 3, 0, 1, 2, 1_000_000, 0, 3)
REQUEST = stamp.pack_request(
    7, ntp.ntp_from_unix(MOMENT), 0x8A03, 0x1234, tlv.pack(hbd_tlv.TYPE, WORDS.pack())
)
REPLY = stamp.pack_reply(
    REQUEST,
    sequence=5,
    timestamp=ntp.ntp_from_unix(MOMENT + 2_000_000),
    estimate=0x0B04,
    receive_timestamp=ntp.ntp_from_unix(MOMENT + 1_000_000),
    ttl=61,
)
PTP_REPLY = stamp.pack_reply(
    stamp.pack_request(8, ntp.ptp_from_unix(MOMENT), 0x4001, 0),
    sequence=8,
    timestamp=ntp.ptp_from_unix(MOMENT + 2_000_000),
    estimate=0x4001,
    receive_timestamp=ntp.ptp_from_unix(MOMENT + 1_000_000),
    ttl=255,
)


@pytest.mark.slow
def test_scapy_reads_our_packets():
    """scapy finds each field of a request and a reply where we put it, and our TLV behind them."""
    scapy = pytest.importorskip("scapy.contrib.stamp")
    request = scapy.STAMPSessionSenderTestUnauthenticated(REQUEST)
    assert (request.seq, request.ssid) == (7, 0x1234)
    assert (request.err_estimate.S, request.err_estimate.Z) == (1, 0)
    assert (request.err_estimate.scale, request.err_estimate.multiplier) == (10, 3)
    (ours,) = request.tlv_objects
    assert (ours.type, ours.len, ours.value) == (250, 40, WORDS.pack())
    reply = scapy.STAMPSessionReflectorTestUnauthenticated(REPLY)
    assert (reply.seq, reply.ssid, reply.seq_sender, reply.ttl_sender) == (5, 0x1234, 7, 61)
    assert (reply.err_estimate.scale, reply.err_estimate.multiplier) == (11, 4)
    assert bytes(reply.err_estimate_sender) == REQUEST[12:14]
    assert abs(reply.ts_sender - (MOMENT / 1e9 + 2_208_988_800)) < 1e-5
    assert abs(reply.ts_rx - reply.ts_sender - 1e-3) < 1e-5
    assert abs(reply.ts - reply.ts_sender - 2e-3) < 1e-5
    assert bytes(reply) == REPLY


def pcap(*payloads, ports=(862, 50_000)):
    """Write a capture of UDP datagrams between these ports, raw IPv4 packets without checksums."""
    capture = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, 101)
    addresses = bytes([192, 0, 2, 1, 192, 0, 2, 2])
    for n, payload in enumerate(payloads):
        udp = struct.pack(">HHHH", *ports, 8 + len(payload), 0) + payload
        ip = struct.pack(">BBHHHBBH8s", 0x45, 0, 20 + len(udp), n, 0, 255, 17, 0, addresses)
        capture += struct.pack("<IIII", 0, n, 20 + len(udp), 20 + len(udp)) + ip + udp
    return capture


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_tshark_reads_our_packets(tmp_path):
    """tshark finds the fields of an NTP and a PTP reply, the SSID where it has MBZ, and the TLV."""
    capture = tmp_path / "stamp.pcap"
    capture.write_bytes(pcap(REPLY, PTP_REPLY))
    names = ["seq_number", "timestamp", "error_estimate.s", "error_estimate.z", "mbz1"]
    names += ["receive_timestamp", "sender_seq_number", "sender_ttl", "padding"]
    fields = [option for name in names for option in ("-e", f"twamp.test.{name}")]
    command = ["tshark", "-n", "-r", str(capture), "-d", "udp.port==862,twamp.test", "-T", "fields"]
    run = subprocess.run(
        [*command, *fields],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={"TZ": "UTC"},
    )
    ntp_row, ptp_row = (line.split("\t") for line in run.stdout.splitlines())
    tlvs = REPLY[44:].hex()
    assert ntp_row == [
        "5",
        "Nov 14, 2023 22:13:20.501999999 UTC",  # it cuts 1/2^32 s off
        "0,1",  # of the reply, of the request
        "0,0",
        "4660",
        "Nov 14, 2023 22:13:20.500999999 UTC",
        "7",
        "61",
        f"000000{tlvs}",
    ]
    assert ptp_row[1] == "Nov 14, 2023 22:13:20.502000000 UTC"
    assert ptp_row[3] == "1,1"
    assert ptp_row[5] == "Nov 14, 2023 22:13:20.501000000 UTC"
