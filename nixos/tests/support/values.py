"""The property of vsl.nix: whatever value goes in, the daemon loads the same.

Awkward values, fixed ones and random ones, are handed to Nix as JSON, written as vSL by vsl.nix, and put into
configurations of the daemon in which each is compared with what it should be, spelled by this file in another way. A
configuration that differs does not load. So that the comparison itself cannot go wrong unseen, wrong values are loaded too,
and each must be refused.
"""

import json
import math
import random
import struct
import subprocess
import tempfile
from pathlib import Path

STRINGS = [
    "",
    " ",
    '"',
    '\\"',
    "\\",
    "\\\\",
    "`",
    "${",
    "${x}",
    "`${ctx::mail_from()}`",
    "$${x}",
    "''",
    "''${x}",
    '"; config.server.name = "x"; "',
    "a\nb",
    "a\r\nb\r",
    "\n",
    "\t\v\f\b\a\x1b\x7f",
    "".join(map(chr, range(1, 128))),
    "\\n \\x41 \\u0041 \\",
    "// no comment",
    "/* no comment",
    "*/ end",
    "#{ a: 1 }",
    "()",
    "äöüß é λ 漢字 🦀 👩‍👩‍👧",
    "\u0080\u0085\u00a0\u00ad\u2028\u2029\u200f\u202e\ufeff\ufffd\uffff\U0010ffff",
    "e\u0301",
    "a" * 10_000,
    "rule",
    "null",
    "true",
    "1",
]
NUMBERS = [0, 1, -1, 2**31, 2**53 + 1, 2**63 - 1, -(2**63), -(2**63) + 1]
FLOATS = [
    0.0,
    0.5,
    -0.5,
    0.1,
    1 / 3,
    1e6,
    -1e6,
    1e15,
    1e16,
    1e22,
    1e23,
    123456.789,
    1e-5,
    5e-324,
    2.2250738585072014e-308,
    1.7976931348623157e308,
    float(2**53),
    float(2**63),
    -float(2**63),
    math.pi,
]
NESTED = [
    None,
    True,
    False,
    [],
    {},
    [[]],
    [{}],
    {"a": {}},
    {"a": None, "b": [None, [True, {"c": "d"}]]},
    {key: 1 for key in STRINGS if len(key) < 1000},
    {word: word for word in ["fn", "let", "rule", "action", "delegate", "this", "is", "in", "Fn", "type_of"]},
]

# As users write them, and what each should be.
EXPRESSIONS = [
    (r'"\n\r\t\\\"\${x}$${x}"', '\n\r\t\\"${x}$${x}'),
    ("''it's ''${x} '''quoted''' ''\\t''", "it's ${x} ''quoted'' \t"),
    ("''\n  two\n    lines\n''", "two\n  lines\n"),
    ("/srv/mail/key.pem", "/srv/mail/key.pem"),
    ('/. + "/srv/a b/\\"c\\"/`d`/\\${e}"', '/srv/a b/"c"/`d`/${e}'),
    ("[ /srv/a /srv/b ]", ["/srv/a", "/srv/b"]),
    ('{ outPath = "/opt/package"; name = "package"; }', "/opt/package"),
    ('{ __toString = self: "text"; }', "text"),
    ("rec { a = null; b.c.d = [ 1 a 2.5 (-3) ]; }", {"a": None, "b": {"c": {"d": [1, None, 2.5, -3]}}}),
    ("1.0e3", 1000.0),
    (".5", 0.5),
]


def check(vsl, program, evaluate, seed=None):
    seed = random.randrange(2**32) if seed is None else seed
    chance = random.Random(seed)
    fixed = STRINGS + NUMBERS + FLOATS + NESTED
    wanted = fixed + [value_of(chance, 4) for _ in range(400)]
    written = write(vsl, wanted, evaluate)
    wanted += [value for _, value in EXPRESSIONS]
    expressions = " ".join(f"({expression})" for expression, _ in EXPRESSIONS)
    written += evaluate(f"map (import {vsl}).value [ {expressions} ]")

    with tempfile.TemporaryDirectory(prefix="vsmtp-values-") as folder:
        bench = Bench(Path(folder), program)
        for number, (text, value) in enumerate(zip(written, wanted)):
            bench.add(f"value {number} of seed {seed}: {value!r:.200}", text, value)
        bench.add_assignments(vsl, evaluate)
        differing = bench.load()
        if differing:
            raise AssertionError(differing)
        # The check of the check: each value against its neighbour.
        neighbours = list(zip(written, written[1:], wanted[1:]))
        for text, next_text, value in chance.sample(neighbours, 40):
            other = Bench(Path(folder), program)
            other.add("different on purpose", text, value)
            if text != next_text and not other.load():
                raise AssertionError(f"the daemon finds {text:.200} equal to {value!r:.200}")
    return f"{len(wanted)} values, seed {seed}"


class Bench:
    """One configuration that compares values while it loads."""

    def __init__(self, folder, program):
        self._file = folder / "conf.d/config.vsl"
        self._file.parent.mkdir(exist_ok=True)
        self._folder = folder
        self._program = program
        self._functions = []
        self._calls = []

    def add(self, name, text, value):
        number = len(self._functions)
        message = ascii_literal(f"{name} was loaded as: ")
        self._functions.append(
            f"fn check_{number}() {{\n"
            f"let got = {text};\nlet want = {spell(value)};\n"
            # Rhai holds small numbers equal that are not: what it prints of them differs in every bit.
            "if type_of(got) != type_of(want) || got != want || got.to_debug() != want.to_debug() {"
            f" throw {message} + got.to_debug(); }}\n}}\n"
        )
        self._calls.append(f"  check_{number}();\n")

    def add_assignments(self, vsl, evaluate):
        """Settings key by key: what is there stays, what is missing is made."""
        settings = {
            "server": {"name": 'a"b', "rule": {"x y": {"deep": 1}}, "list": [1], "none": None},
            "new": {"empty": {}, "": 5, "a-b": True, "${x}": "`"},
        }
        before = {"server": {"name": "old", "kept": 7}, "kept": {"a": 1}}
        after = {
            "server": {**settings["server"], "kept": 7},
            "new": settings["new"],
            "kept": {"a": 1},
            "extra": 1,
        }
        text = evaluate(
            f"(import {vsl}).rootConfig {{ settings = builtins.fromJSON {nix_string(json.dumps(settings))}; "
            'extraConfig = "  config.extra = 1;"; }'
        )
        self._functions.append(text.replace("fn on_config(", "fn assign("))
        self.add("assignments", f"assign({spell(before)})", after)

    def load(self):
        """What differs, or nothing."""
        text = "".join(self._functions) + "fn on_config(config) {\n" + "".join(self._calls) + "  config\n}\n"
        self._file.write_text(text)
        done = subprocess.run(
            [self._program, "check", "--no-host", "--config", self._folder], capture_output=True, text=True
        )
        return "" if done.returncode == 0 else done.stdout + done.stderr


def write(vsl, wanted, evaluate):
    """What vsl.nix makes of each value, in one evaluation."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump([encode(value) for value in wanted], file)
        file.flush()
        return evaluate(
            f"""
            let
              vsl = import {vsl};
              least = -9223372036854775807 - 1;
              power = n: if n == 0 then 1.0 else if n > 0 then 2.0 * power (n - 1) else power (n + 1) / 2.0;
              decode = v:
                {{
                  plain = v.value;
                  least = least;
                  float = v.mantissa * power v.high * power v.low;
                  list = map decode v.value;
                  set = builtins.listToAttrs (map (e: {{ inherit (e) name; value = decode e.value; }}) v.value);
                }}.${{v.kind}};
            in map (v: vsl.value (decode v)) (builtins.fromJSON (builtins.readFile {file.name}))
            """
        )


def encode(value):
    """As JSON that every Nix reads without loss: floats as integer and powers of two."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return {"kind": "plain", "value": value}
    if isinstance(value, int):
        return {"kind": "least"} if value == -(2**63) else {"kind": "plain", "value": value}
    if isinstance(value, float):
        fraction, exponent = math.frexp(value)
        mantissa, exponent = int(math.ldexp(fraction, 53)), exponent - 53
        while mantissa and mantissa % 2 == 0:
            mantissa, exponent = mantissa // 2, exponent + 1
        half = int(exponent / 2)
        return {"kind": "float", "mantissa": mantissa, "high": half, "low": exponent - half}
    if isinstance(value, list):
        return {"kind": "list", "value": [encode(item) for item in value]}
    return {"kind": "set", "value": [{"name": name, "value": encode(item)} for name, item in value.items()]}


def spell(value):
    """The same value in Rhai, by other means than vsl.nix: characters by number, floats by their bits' meaning."""
    if value is None:
        return "()"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f'parse_int("{value}")'
    if isinstance(value, float):
        return f'parse_float("{value!r}")'
    if isinstance(value, str):
        return ascii_literal(value)
    if isinstance(value, list):
        return "[" + ", ".join(map(spell, value)) + "]"
    return "#{" + ", ".join(f"{ascii_literal(name)}: {spell(item)}" for name, item in value.items()) + "}"


def ascii_literal(text):
    """A string of letters and digits, every other character by its number."""
    return '"' + "".join(c if c.isascii() and c.isalnum() else f"\\U{ord(c):08x}" for c in text) + '"'


def nix_string(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("${", "\\${") + '"'


def value_of(chance, depth):
    kinds = ["string"] * 4 + ["int", "float", "plain"] + (["list", "set"] * 2 if depth else [])
    match chance.choice(kinds):
        case "string":
            return string_of(chance)
        case "int":
            return chance.choice([chance.randrange(-100, 100), chance.randrange(-(2**63), 2**63)])
        case "float":
            return float_of(chance)
        case "plain":
            return chance.choice([None, True, False])
        case "list":
            return [value_of(chance, depth - 1) for _ in range(chance.randrange(4))]
        case _:
            return {string_of(chance): value_of(chance, depth - 1) for _ in range(chance.randrange(4))}


def string_of(chance):
    alphabets = ['\\"`${}\'', "\n\r\t\x01\x1f\x7f", "abc 019 xuUn", "äλ漢🦀\u2028\ufeff", "/*#();:.,"]
    return "".join(chance.choice(chance.choice(alphabets)) for _ in range(chance.randrange(12)))


def float_of(chance):
    while True:
        (number,) = struct.unpack("d", chance.randbytes(8))
        if math.isfinite(number):
            return number
