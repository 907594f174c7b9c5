"""What requests of workflows may reach: addresses in every spelling, and what a setting allows."""

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim_devin.calls.network import NetworkPolicy, kind_of, literal, parse_entry
from sim_devin.errors import AddressRefused, CallerError
from sim_devin.settings import load_settings

NOWHERE = NetworkPolicy()

SPELLINGS = [
    "127.0.0.1",
    "127.1",
    "2130706433",
    "0x7f000001",
    "0X7F.0.0.1",
    "0177.0.0.1",
    "017700000001",
    "127.0.0.1.",
    "%31%32%37.0.0.1",
    "１２７.０.０.１",
    "127。0。0。1",
    "①②⑦.0.0.1",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]",
    "[::FFFF:7F00:1]",
    "[::127.0.0.1]",
    "[::ffff:0:127.0.0.1]",
    "[64:ff9b::127.0.0.1]",
    "[2002:7f00:1::]",
    "[2600::200:5efe:7f00:1]",
    "[fe80::1%25eth0]",
    "[fe80::1%eth0]",
    "localhost",
    "LocalHost.",
    "a.localhost",
    "localhost.localdomain",
    "ip6-localhost",
    "metadata",
    "0.0.0.0",
    "0",
    "[::]",
    "169.254.169.254",
    "169.254.43518",
    "metadata.google.internal",
    "168.63.129.16",
    "100.100.100.200",
    "192.0.0.192",
    "[fd00:ec2::254]",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "198.18.0.1",
    "192.0.2.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "[fc00::1]",
    "[fec0::1]",
    "[ff02::1]",
    "[2001:db8::1]",
    "[2001:0:7f00:1::1]",
    "[64:ff9b:1::8.8.8.8]",
]


@pytest.mark.parametrize("host", SPELLINGS)
def test_an_address_that_is_not_public_is_refused_in_every_spelling(host):
    with pytest.raises(AddressRefused) as caught:
        NOWHERE.check_url(f"http://{host}:8080/x")
    assert "SIM_DEVIN_NETWORK_ALLOW" in caught.value.hint
    assert "8080" in caught.value.hint
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com@127.0.0.1/",
        "http://127.0.0.1\\@example.com/",
        "HTTP://127.0.0.1",
        " https://127.0.0.1/ ",
        "http://127.0.0.1#example.com",
        "http://127.0.0.1?example.com",
    ],
)
def test_the_host_of_a_url_is_judged_and_nothing_else_of_it(url):
    with pytest.raises(AddressRefused, match=r"127\.0\.0\.1 \(loopback\)"):
        NOWHERE.check_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://api.devin.ai/v3",
        "https://8.8.8.8/",
        "https://134744072/",
        "https://[2606:4700::1111]/",
        "https://[::ffff:8.8.8.8]/",
        "https://[64:ff9b::8.8.8.8]/",
        "https://example.com/?at=127.0.0.1",
        "https://127.0.0.1.example.com/",
        "https://localhost.example.com/",
        "http://[::1",
        "http://x:99999999/",
        "",
    ],
)
def test_what_is_public_or_no_address_passes(url):
    NOWHERE.check_url(url)


@pytest.mark.parametrize("port", [22, 23, 25, 3306, 5432, 6379, 9200, 27017])
def test_ports_of_other_protocols_are_refused_unless_they_are_named(port):
    with pytest.raises(AddressRefused, match=f"port {port} belongs to another protocol"):
        NOWHERE.check_url(f"https://db.example.com:{port}/")
    NetworkPolicy([f"db.example.com:{port}"]).check_url(f"https://db.example.com:{port}/")


ALLOWED = [
    ("127.0.0.1", "http://127.0.0.1:8080/"),
    ("127.0.0.1", "http://2130706433/"),
    ("127.0.0.1", "http://[::ffff:127.0.0.1]/"),
    ("0x7f.1", "http://127.0.0.1/"),
    ("127.0.0.1:80", "http://127.0.0.1/"),
    ("127.0.0.1:443", "https://127.0.0.1/"),
    ("127.0.0.0/8", "http://127.9.9.9:1234/"),
    ("10.0.0.0/8", "http://[64:ff9b::10.1.2.3]/"),
    ("[::1]:8080", "http://[::1]:8080/"),
    ("[::1]", "http://[0::1]/"),
    ("::1", "http://[::1]/"),
    ("fd00::/8", "http://[fd12::1]/"),
    ("localhost", "http://LOCALHOST:99/"),
    ("Localhost.:99", "http://localhost:99/"),
    ("::1", "http://localhost/"),
]


@pytest.mark.parametrize(("entry", "url"), ALLOWED)
def test_an_entry_allows_what_it_names(entry, url):
    with pytest.raises(AddressRefused):
        NOWHERE.check_url(url)
    NetworkPolicy([entry]).check_url(url)


@pytest.mark.parametrize(
    ("entry", "url"),
    [
        ("127.0.0.1:80", "http://127.0.0.1:81/"),
        ("127.0.0.1", "http://127.0.0.2/"),
        ("10.0.0.0/8", "http://172.16.0.1/"),
        ("localhost", "http://127.0.0.1/"),
        ("example.com", "http://10.0.0.1/"),
        ("::/0", "http://10.0.0.1/"),
    ],
)
def test_an_entry_allows_nothing_else(entry, url):
    with pytest.raises(AddressRefused):
        NetworkPolicy([entry]).check_url(url)


def test_of_several_addresses_those_are_taken_that_may_be():
    assert NOWHERE.reachable("x.test", 80, ["10.0.0.1", "8.8.8.8", "::1"]) == ["8.8.8.8"]
    with pytest.raises(AddressRefused, match=r"10\.0\.0\.1 \(private, resolved from x\.test\)"):
        NOWHERE.reachable("x.test", 80, ["10.0.0.1", "::1"])
    assert NetworkPolicy(["x.test:80"]).reachable("X.test.", 80, ["10.0.0.1"]) == ["10.0.0.1"]


@given(st.integers(0, 2**32 - 1), st.sampled_from(["{0}", "0x{0:x}", "0{0:o}", "{1}", "[{2}]"]))
def test_every_spelling_of_an_address_is_judged_as_the_address(number, spelling):
    address = IPv4Address(number)
    host = spelling.format(number, address, f"::ffff:{address}")
    found = literal(host)
    assert found is not None
    assert kind_of(found) == kind_of(address)
    if address.is_private or address.is_multicast or address.is_reserved:
        assert kind_of(address)


@given(st.integers(0, 2**128 - 1))
def test_nothing_that_python_calls_private_is_called_public(number):
    address = IPv6Address(number)
    inner = address.ipv4_mapped or address.sixtofour
    if inner is None and not address.is_global:
        assert kind_of(address)


@given(st.text(max_size=40))
def test_an_entry_is_read_or_named_as_wrong(text):
    try:
        entry = parse_entry(text)
    except ValueError:
        return
    assert entry.name or entry.network is not None
    assert entry.port is None or 0 < entry.port < 65536


@pytest.mark.parametrize(
    "entry",
    [
        "*",
        "http://example.com",
        "10.0.0.1/8",
        "10.0.0.0/33",
        "host:0",
        "host:65536",
        "host:http",
        "host:",
        "[::1",
        "[::1]x",
        "[::1]:",
        "a b",
        "a/b",
        ":80",
        "[127.0.0.1]",
        "::1:zz",
    ],
)
def test_an_entry_that_cannot_be_used_is_an_error_at_the_start(entry, tmp_path):
    with pytest.raises(CallerError, match="SIM_DEVIN_NETWORK_ALLOW has ") as caught:
        load_settings({"SIM_DEVIN_NETWORK_ALLOW": f"10.0.0.1,{entry}"})
    assert repr(entry) in caught.value.message
    config = tmp_path / "config.toml"
    config.write_text(f"[network]\nallow = ['{entry}']\n")
    with pytest.raises(CallerError, match=r"\[network\] allow has "):
        load_settings({}, config)


def test_the_environment_goes_over_the_config_file(tmp_path):
    config = tmp_path / "config.toml"
    config.write_text('[network]\nallow = ["10.0.0.1", "[::1]:80"]\n')
    assert load_settings({}, config).network.allow == ("10.0.0.1", "[::1]:80")
    named = {"SIM_DEVIN_NETWORK_ALLOW": " wiki.internal:8443 , "}
    assert load_settings(named, config).network.allow == ("wiki.internal:8443",)
    assert load_settings({"SIM_DEVIN_NETWORK_ALLOW": ""}, config).network.allow == ()


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("network = 1", r"\[network\] must be a table"),
        ("[network]\nalow = []", r"Unknown key 'alow' in \[network\]"),
        ("[network]\nallow = [1]", "must be a list of strings"),
        ("[network]\nallow = 1", "must be a list of strings"),
    ],
)
def test_a_table_that_cannot_be_used(text, wrong, tmp_path):
    config = tmp_path / "config.toml"
    config.write_text(text)
    with pytest.raises(CallerError, match=wrong):
        load_settings({}, config)


def test_addresses_are_what_the_library_says():
    assert literal("example.com") is None
    assert literal("[fe80::1%25eth0]") == ip_address("fe80::1")
