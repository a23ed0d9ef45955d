"""The reference's vocabulary: what each validator accepts, and the message of a refusal."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import string
import subprocess
from pathlib import Path
from typing import Any

import pytest
import voluptuous as vol
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from jidoteki.hookspecs import validators
from jidoteki.hookspecs.conf import shell_conf
from jidoteki.hookspecs.validators import explain, json_document, strict, together, variants

ALNUM = string.ascii_letters + string.digits
GRAPHIC = "".join(map(chr, range(33, 127)))

REFERENCE = [
    pytest.param(validators.interface, ALNUM, 3, 14, "3 to 14 letters and digits", id="interface"),
    pytest.param(validators.hostname, ALNUM + ".-", 3, 255, "3 to 255 letters, digits, '.' and '-'", id="hostname"),
    pytest.param(
        validators.server, ALNUM + ".-:", 3, 255, "3 to 255 letters, digits, '.', '-' and ':'", id="ntpserver"
    ),
    pytest.param(
        validators.mount_options,
        ALNUM + ".-=,",
        3,
        255,
        "3 to 255 letters, digits, '.', '-', '=' and ','",
        id="mount_options",
    ),
    pytest.param(
        validators.share, ALNUM + ".-_/", 3, 255, "3 to 255 letters, digits, '.', '-', '_' and '/'", id="share"
    ),
    pytest.param(validators.device, ALNUM + ".-", 3, 255, "3 to 255 letters, digits, '.' and '-'", id="device"),
    pytest.param(
        validators.target, ALNUM + ".-_:", 3, 255, "3 to 255 letters, digits, '.', '-', '_' and ':'", id="target"
    ),
    pytest.param(
        validators.printable, GRAPHIC, 3, 255, "3 to 255 printable ASCII characters without spaces", id="printable"
    ),
    pytest.param(validators.token, GRAPHIC, 1, 255, "1 to 255 printable ASCII characters without spaces", id="token"),
]


def refusal(validator: Any, value: object) -> str:
    """Return the sentence that refuses `value` as the parameter `field`."""
    with pytest.raises(vol.Invalid) as caught:
        vol.Schema({"field": validator})({"field": value})
    return explain(caught.value)


@pytest.mark.parametrize(("validator", "alphabet", "minimum", "maximum", "allowed"), REFERENCE)
@given(data=st.data())
@settings(max_examples=60)
def test_what_the_reference_allows_is_accepted_unchanged(
    validator: Any, alphabet: str, minimum: int, maximum: int, allowed: str, data: st.DataObject
) -> None:
    value = data.draw(st.text(alphabet, min_size=minimum, max_size=maximum))

    assert validator(value) == value


@pytest.mark.parametrize(("validator", "alphabet", "minimum", "maximum", "allowed"), REFERENCE)
def test_every_allowed_character_and_both_bounds_are_accepted(
    validator: Any, alphabet: str, minimum: int, maximum: int, allowed: str
) -> None:
    accepted = {
        character for character in alphabet if validator(character * minimum) and validator(character * maximum)
    }

    assert accepted == set(alphabet)


@pytest.mark.parametrize(("validator", "alphabet", "minimum", "maximum", "allowed"), REFERENCE)
@given(data=st.data())
@settings(max_examples=100)
def test_one_character_outside_the_reference_is_refused(
    validator: Any, alphabet: str, minimum: int, maximum: int, allowed: str, data: st.DataObject
) -> None:
    outside = data.draw(
        st.sampled_from(sorted(set(map(chr, range(256))) - set(alphabet))) | st.sampled_from("٣éЖａ\u2028")
    )
    before = data.draw(st.text(alphabet, min_size=minimum, max_size=minimum + 5))
    after = data.draw(st.text(alphabet, max_size=2))

    assert refusal(validator, before + outside + after) == f"field must be {allowed}"


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\0", " "])
@pytest.mark.parametrize(("validator", "alphabet", "minimum", "maximum", "allowed"), REFERENCE)
def test_a_good_value_with_something_after_it_is_refused(
    validator: Any, alphabet: str, minimum: int, maximum: int, allowed: str, ending: str
) -> None:
    assert refusal(validator, "eth0" + ending) == f"field must be {allowed}"


@pytest.mark.parametrize(("validator", "alphabet", "minimum", "maximum", "allowed"), REFERENCE)
def test_one_character_too_few_or_too_many_is_refused(
    validator: Any, alphabet: str, minimum: int, maximum: int, allowed: str
) -> None:
    assert refusal(validator, "a" * (minimum - 1)) == f"field must be {allowed}"
    assert refusal(validator, "a" * (maximum + 1)) == f"field must be {allowed}"


@pytest.mark.parametrize("value", [None, True, 12345, 1.5, b"eth0", ["eth0"], {"eth0": 1}])
@pytest.mark.parametrize(("validator", "alphabet", "minimum", "maximum", "allowed"), REFERENCE)
def test_what_is_not_a_string_is_refused(
    validator: Any, alphabet: str, minimum: int, maximum: int, allowed: str, value: object
) -> None:
    assert refusal(validator, value) == f"field must be a string: {allowed}"


def test_a_text_validator_says_its_rule_as_a_pattern() -> None:
    assert validators.interface.pattern == "^[a-zA-Z0-9]{3,14}$"


@given(st.ip_addresses())
def test_every_address_that_the_reference_has_room_for_is_accepted(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    assume(len(str(address)) >= 3)

    assert validators.address(str(address)) == str(address)
    assert validators.address(address.exploded.upper()) == address.exploded.upper()


@pytest.mark.parametrize(
    "value",
    [
        "::",
        "1.2.3",
        "1.2.3.256",
        "1.2.3.4.5",
        "01.2.3.4",
        "1.2.3.4/24",
        "fe80::1%eth0",
        "1::2::3",
        "abc",
        "...",
        "1.2.3.4\n",
        "",
    ],
)
def test_what_is_no_address_is_refused(value: str) -> None:
    assert refusal(validators.address, value) == "field must be an IPv4 or IPv6 address of 3 to 45 characters"


@given(st.integers(1, 32))
def test_every_ipv4_netmask_is_accepted_in_each_form(length: int) -> None:
    dotted = str(ipaddress.IPv4Network((0, length)).netmask)

    assert validators.netmask(dotted) == dotted
    assert validators.netmask(f"/{length}") == f"/{length}"
    assert [validators.prefix_length(mask, 4) for mask in (dotted, f"/{length}", str(length))] == [length] * 3


@given(st.integers(1, 128))
def test_every_ipv6_netmask_is_accepted_in_each_form(length: int) -> None:
    network = ipaddress.IPv6Network((0x20010DB8 << 96, length), strict=False)
    forms = [str(network.netmask), f"/{length}", str(network)]

    assert [validators.netmask(form) for form in forms] == forms
    assert [validators.prefix_length(form, 6) for form in [*forms, str(length)]] == [length] * 4


@pytest.mark.parametrize(
    "value",
    ["8", "0.0.0.0", "0.0.0.255", "255.0.255.0", "255.255.255", "/0", "00", "129", "/129", "//24", "24/", "ab", "::"]
    + ["ffff::ffff", "/255.255.255.0", "1.2.3.0/24", "2001:db8::/129", "xyz::/64", "24\n", "-1", "1.5"],
)
def test_what_is_no_netmask_is_refused(value: str) -> None:
    assert refusal(validators.netmask, value).startswith("field must be a netmask such as 255.255.255.0, or a prefix")


@pytest.mark.parametrize(("mask", "version"), [("/33", 4), ("ffff::", 4), ("2001:db8::/32", 4), ("255.255.0.0", 6)])
def test_a_netmask_of_the_other_family_has_no_prefix_length(mask: str, version: int) -> None:
    with pytest.raises(ValueError, match="netmask of|prefix length of"):
        validators.prefix_length(mask, version)


@given(st.integers(1, 65535))
def test_every_port_is_accepted_as_string_and_number_and_becomes_a_string(number: int) -> None:
    assert validators.port(number) == str(number)
    assert validators.port(str(number)) == str(number)


@pytest.mark.parametrize(
    "value", ["0", "65536", "-1", "../..", "1.5", "80/tcp", "٣", "80\n", "", "000080", 0, 65536, -1]
)
def test_what_is_no_port_is_refused(value: object) -> None:
    assert refusal(validators.port, value) == "field must be a number from 1 to 65535"


@pytest.mark.parametrize("value", [True, None, 80.0, ["80"]])
def test_a_port_that_is_neither_string_nor_number_is_refused(value: object) -> None:
    assert refusal(validators.port, value) == "field must be a string: a number from 1 to 65535"


@given(st.integers(100, 10**20))
def test_a_number_becomes_its_digits(number: int) -> None:
    assert validators.or_number(validators.hostname)(number) == str(number)
    assert validators.or_number(validators.hostname)("a.host") == "a.host"


@pytest.mark.parametrize("value", [None, True, 1000.0, -1000, [1000]])
def test_what_is_neither_a_string_nor_a_whole_number_is_refused(value: object) -> None:
    allowed = "3 to 255 letters, digits, '.' and '-'"

    assert refusal(validators.or_number(validators.hostname), value) == f"field must be a string: {allowed}"
    assert refusal(validators.or_number(validators.hostname), 99) == f"field must be {allowed}"


@pytest.mark.parametrize(("minimum", "least"), [(1, 0), (2, 10), (3, 100)])
def test_a_number_has_at_least_the_digits_of_the_shortest_text(minimum: int, least: int) -> None:
    text = validators.Text("0-9", minimum, 5, "some digits")
    number = validators.or_number(text)

    assert number.minimum == least
    assert number(least) == str(least)
    if least:
        assert refusal(number, least - 1) == "field must be some digits"


def test_zero_is_a_number() -> None:
    assert validators.or_number(validators.Text("0-9", 1, 3, "some digits"))(0) == "0"


@pytest.mark.parametrize(
    ("mask", "version", "length"),
    [
        ("1", 4, 1), ("32", 4, 32), ("33", 6, 33), ("128", 6, 128), ("/1", 6, 1), ("128.0.0.0", 4, 1),
        ("255.255.255.255", 4, 32), ("8000::", 6, 1), ("2001:db8::/1", 6, 1), ("::/128", 6, 128), ("032", 4, 32),
    ],
)  # fmt: skip
def test_the_prefix_length_of_a_netmask(mask: str, version: int, length: int) -> None:
    assert validators.prefix_length(mask, version) == length


@pytest.mark.parametrize(
    ("mask", "version"),
    [
        ("0", 4), ("33", 4), ("129", 6), ("0", 6), ("0032", 4), ("", 4), ("/", 4), ("1.2.3.4/24", 4), ("1.2.3.4/24", 6),
        ("2001:db8::/64", 4), ("255.0.0.0", 6), ("ff00::", 4), ("0.0.0.0", 4), ("255.0.255.0", 4), ("127.0.0.0", 4),
        ("::1", 6), ("٣", 4), ("x/24", 4), ("x/24", 6),
    ],
)  # fmt: skip
def test_what_is_no_netmask_of_a_version_has_no_prefix_length(mask: str, version: int) -> None:
    with pytest.raises(ValueError, match=r"."):
        validators.prefix_length(mask, version)


@pytest.mark.parametrize("port", [1, 65535])
def test_the_first_and_the_last_port_are_ports(port: int) -> None:
    assert validators.port(port) == validators.port(str(port)) == str(port)


@pytest.mark.parametrize(
    ("validator", "shortest", "longest"),
    [(validators.address, "::1", "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255"), (validators.netmask, "24", "/128")],
)
def test_the_bounds_of_addresses_and_netmasks(validator: validators.Text, shortest: str, longest: str) -> None:
    assert validator(shortest) == shortest and validator(longest) == longest
    assert (validator.minimum, validator.maximum) == (len(shortest), 45)


def test_what_a_function_accepts_is_described_on_it() -> None:
    @validators.described({"type": "string"})
    def accept(value: object) -> object:
        return value

    assert accept(1) == 1
    assert accept.json_schema == {"type": "string"}  # type: ignore[attr-defined]  # functions take attributes


def test_an_empty_string_may_stand_for_a_key_that_is_not_given() -> None:
    schema = {vol.Required("a"): validators.hostname, vol.Optional("b"): validators.hostname}

    assert strict(schema, empty_is_absent=True)({"a": "host", "b": ""}) == {"a": "host"}
    assert refusal(strict(schema, empty_is_absent=True), {"a": ""}) == "field.a is required"
    assert refusal(strict(schema), {"a": "host", "b": ""}).startswith("field.b must be 3 to 255")


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)
ANYTHING = json_document(object)


@given(VALUES, st.booleans(), st.sampled_from(["", "\ufeff"]))
def test_a_json_document_is_read_with_and_without_byte_order_mark(value: Any, escaped: bool, mark: str) -> None:
    content = (mark + json.dumps(value, ensure_ascii=escaped)).encode()

    assert ANYTHING(content) == value


@given(st.binary() | st.text('[]{}":,\\ue0dD81-+.NaInfty \n').map(str.encode))
@settings(max_examples=500)
def test_no_bytes_make_a_json_document_fail_in_another_way(content: bytes) -> None:
    with contextlib.suppress(vol.Invalid):
        value = ANYTHING(content)

        assert json.loads(json.dumps(value, allow_nan=False, ensure_ascii=False).encode()) == value


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "field must be JSON: Expecting value at line 1, column 1"),
        (b'{\n"a": }', "field must be JSON: Expecting value at line 2, column 6"),
        (b"{} {}", "field must be JSON: Extra data at line 1, column 4"),
        (b'"a\xff"', "field must be UTF-8 text, and byte 3 is not"),
        ('{"a":1}'.encode("utf-16"), "field must be UTF-8 text, and byte 1 is not"),
        (b'{"a": {"b": 1, "c": 2, "b": 1}}', "field must hold the key b once only"),
        (b'{"\\u000d": 1, "\\r": 2}', "field must hold the key ? once only"),
        (b'{"a": NaN}', "field must hold finite numbers only, no NaN or infinity"),
        (b"[-Infinity]", "field must hold finite numbers only, no NaN or infinity"),
        (b"[1e999]", "field must hold finite numbers only, no NaN or infinity"),
        (b'["\\ud800"]', "field must hold Unicode text only, no lone surrogates"),
        (b'{"\\udfff": 1}', "field must hold Unicode text only, no lone surrogates"),
        (b"[" + b"9" * 5000 + b"]", "field must not hold a number of more than 4300 digits"),
        (b"[" * 33 + b"]" * 33, "field must be nested at most 32 levels deep"),
        (b"[" * 500_000, "field must be nested at most 32 levels deep"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "field must be nested at most 32 levels deep"),
    ],
)
def test_a_bad_json_document_is_refused_with_the_reason(content: bytes, sentence: str) -> None:
    assert refusal(ANYTHING, content) == sentence


def test_a_json_document_may_be_nested_as_deep_as_it_says() -> None:
    assert json_document(object, max_depth=2)(b"[[1]]") == [[1]]
    assert refusal(json_document(object, max_depth=2), b"[[[1]]]") == "field must be nested at most 2 levels deep"


NETWORK = strict(
    {
        vol.Required("interface"): validators.interface,
        vol.Required("hostname"): validators.hostname,
        **together(ip_address=validators.address, netmask=validators.netmask, gateway=validators.address),
        "list": [int],
    }
)
GOOD = {"interface": "eth0", "hostname": "test.host"}


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        *((each, "field must be an object") for each in ([], ["hostname"], "hostname", 1, None, True)),
        ({}, "field.hostname is required"),
        ({"interface": "eth0"}, "field.hostname is required"),
        ({**GOOD, "interface": 1}, "field.interface must be a string: 3 to 14 letters and digits"),
        ({**GOOD, "hostnme": "a"}, "field.hostnme is unknown; did you mean hostname?"),
        ({**GOOD, "ip_adress": "1.2.3.4", "netmask": "24"}, "field.ip_adress is unknown; did you mean ip_address?"),
        ({**GOOD, "netmask": "24"}, "field needs ip_address, netmask and gateway together or none of them"),
        ({**GOOD, "list": ["a"]}, "field.list[0] must be a whole number"),
        ({**GOOD, "list": {}}, "field.list must be a list"),
        (
            {**GOOD, "zzz": 1},
            "field.zzz is unknown; known are: gateway, hostname, interface, ip_address, list, netmask",
        ),
        ({**GOOD, 'a"\r\nSet-Cookie: \x1b[31mé': 1}, 'field.a"??Set-Cookie: ?[31m? is unknown; known are:'),
    ],
)
def test_a_refused_object_is_explained_in_one_sentence(value: object, sentence: str) -> None:
    assert refusal(NETWORK, value).startswith(sentence)


def test_keys_that_belong_together_are_accepted_together_and_left_out_together() -> None:
    static = {**GOOD, "ip_address": "192.168.1.2", "netmask": "24", "gateway": "192.168.1.1"}

    assert NETWORK(static) == static
    assert NETWORK(GOOD) == GOOD


SHAPE = variants("shape", {"circle": {vol.Required("radius"): int}, "point": {}})


def test_each_variant_has_keys_of_its_own() -> None:
    assert SHAPE({"shape": "circle", "radius": 1}) == {"shape": "circle", "radius": 1}
    assert SHAPE({"shape": "point"}) == {"shape": "point"}


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        *((each, "field must be an object") for each in ("circle", ["shape"], "shape", 1, None)),
        ({}, "field.shape is required"),
        ({"shape": "square"}, "field.shape must be one of circle, point"),
        ({"shape": ["circle"]}, "field.shape must be one of circle, point"),
        ({"shape": "circle"}, "field.radius is required"),
        ({"shape": "circle", "radius": "1"}, "field.radius must be a whole number"),
        ({"shape": "point", "radius": 1}, "field.radius is unknown; known are: shape"),
    ],
)
def test_a_refused_variant_is_explained(value: object, sentence: str) -> None:
    assert refusal(SHAPE, value) == sentence


@pytest.mark.parametrize(
    ("validator", "value", "sentence"),
    [
        (str, 1, "field must be a string"),
        (dict, 1, "field must be an object"),
        ({}, 1, "field must be an object"),
        ({"a": 1}, {"b": 1}, "field.b is unknown"),
        ({vol.Required("a"): 1}, {}, "field.a is required"),
        ({vol.Required("a", msg="must be there"): 1}, {}, "field.a must be there"),
        (vol.Coerce(int), "x", "field must be a whole number"),
        (vol.Range(1, 20), 21, "field must be at most 20"),
        (vol.In(["a", "b"]), "c", "field must be one of ['a', 'b']"),
        (vol.Any("a", "b"), "c", "field is not a valid value"),
        (vol.Length(min=3), "a", "field is refused: length of value must be at least 3"),
        (vol.Url(), "x", "field must be a URL"),
    ],
)
def test_the_errors_of_voluptuous_itself_become_sentences(validator: Any, value: object, sentence: str) -> None:
    assert refusal(validator, value) == sentence


def test_a_prefix_comes_before_the_path_and_an_error_without_path_has_a_subject() -> None:
    assert explain(vol.Invalid("must be 1", path=["b", 0]), "a") == "a.b[0] must be 1"
    assert explain(vol.Invalid("must be 1")) == "value must be 1"
    assert explain(vol.MultipleInvalid([])) == "value is not valid"


@given(st.text(min_size=1), st.text())
def test_a_sentence_is_short_and_printable_whatever_the_client_sent(key: str, message: str) -> None:
    sentence = explain(vol.MultipleInvalid([vol.Invalid(message * 50, path=[key * 30, key])]), "field")

    assert sentence.isascii()
    assert sentence.isprintable()
    assert len(sentence) <= 400


@pytest.mark.parametrize("length", [60, 64, 65, 100_000])
def test_a_sentence_repeats_at_most_64_characters_of_an_unknown_key(length: int) -> None:
    sentence = refusal(NETWORK, {**GOOD, "Z" * length: 1})

    assert sentence.count("Z") > 40
    assert len(sentence.partition(" is unknown")[0]) <= 64


@pytest.mark.parametrize("length", [65, 100_000])
def test_a_sentence_repeats_at_most_64_characters_of_a_key_that_comes_twice(length: int) -> None:
    content = b'{"%b":1,"%b":1}' % (b"Z" * length, b"Z" * length)

    assert 20 < refusal(ANYTHING, content).count("Z") <= 64


def sourced(content: str, directory: Path, names: list[str]) -> list[str]:
    """Return the values of the shell variables `names` after a shell has sourced a file with this content."""
    (directory / "some.conf").write_bytes(content.encode())
    script = ". ./some.conf; for name; do eval 'printf \"%s\\n\" \"$'$name'\"'; done"
    run = subprocess.run(["sh", "-eu", "-c", script, "sh", *names], cwd=directory, capture_output=True, check=True)
    assert run.stderr == b""
    return run.stdout.decode().split("\n")[:-1]


LINES = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\n\0") | st.sampled_from("\\\"$`'!#;&|*?~( ")
)


@given(st.lists(LINES, min_size=3, max_size=3))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_shell_that_sources_a_conf_file_gets_the_same_values_back(tmp_path: Path, values: list[str]) -> None:
    conf = shell_conf(dict(zip(["a", "_b", "C3"], values, strict=True)))

    assert sourced(conf, tmp_path, ["a", "_b", "C3"]) == values


@pytest.mark.parametrize(
    "value",
    [
        "$(touch pwned)",
        "`touch pwned`",
        '"; touch pwned; "',
        "\\",
        "\\\\",
        '\\"',
        "'",
        "$HOME",
        "${HOME}",
        "$((1+1))",
        "!!",
        "\r",
        "",
    ],
)
def test_a_hostile_value_in_a_conf_file_is_only_itself(tmp_path: Path, value: str) -> None:
    conf = shell_conf({"a": value, "b": value})

    assert sourced(conf, tmp_path, ["a", "b"]) == [value, value]
    assert not (tmp_path / "pwned").exists()


def test_a_conf_file_has_one_quoted_line_for_each_key() -> None:
    assert shell_conf({"mode": "static", "ip": "192.168.1.100"}) == 'mode="static"\nip="192.168.1.100"\n'


@pytest.mark.parametrize("value", ["a\nb", "\n", "a\0b"])
def test_a_value_of_several_lines_or_with_nul_is_refused_for_a_conf_file(value: str) -> None:
    with pytest.raises(ValueError, match="key must be one line without NUL"):
        shell_conf({"key": value})


@pytest.mark.parametrize("key", ["", "1a", "a b", "a-b", "a=b", "a\n", "é", "a;b"])
def test_a_key_that_is_no_variable_name_is_refused_for_a_conf_file(key: str) -> None:
    with pytest.raises(ValueError, match="not the name of a shell variable"):
        shell_conf({key: "value"})
