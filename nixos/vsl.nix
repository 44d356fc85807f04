# From Nix values to vSL, the language that vsmtp reads its configuration in.
#
# Pure functions of `builtins` alone, so that any Nix since 2.4 can evaluate them without nixpkgs. Whatever value goes in
# means the same after the daemon has loaded the text: no string can end its literal early, and numbers keep every bit.
# `tests/values` is the property test of that promise.
let
  inherit (builtins)
    attrNames
    concatMap
    concatStringsSep
    elem
    elemAt
    floor
    fromJSON
    genList
    isAttrs
    length
    map
    match
    replaceStrings
    storeDir
    stringLength
    substring
    toJSON
    typeOf
    ;

  hexDigit = digit: substring digit 1 "0123456789abcdef";
  hexByte = byte: hexDigit (byte / 16) + hexDigit (byte - byte / 16 * 16);

  # A Nix literal cannot spell these characters, JSON can. NUL is missing since a Nix string cannot hold it.
  controls = genList (n: hexByte (n + 1)) 31 ++ [ "7f" ];

  escape =
    replaceStrings
      (
        [
          "\\"
          "\""
        ]
        ++ map (hex: fromJSON ''"\u00${hex}"'') controls
      )
      (
        [
          "\\\\"
          "\\\""
        ]
        ++ map (hex: "\\x${hex}") controls
      );

  # A double-quoted literal: there `${` and back-ticks mean nothing, in contrast to the interpolated kind.
  string = text: "\"${escape text}\"";

  # Rhai reads the digits before it applies the sign, and the least integer has no positive counterpart.
  least = -9223372036854775807 - 1;
  integer = number: if number == least then "(-9223372036854775807 - 1)" else toString number;

  # What JSON prints is what one wants to read, but older Nix prints six digits only. Where that loses bits, the number
  # is written as the 53-bit integer and the power of two that it is made of; both factors and their product are exact.
  float =
    number:
    let
      parts = match "(-?[0-9]+)(\\.[0-9]+)?(e[-+]?[0-9]+)?" (toJSON number);
      part = n: default: if elemAt parts n == null then default else elemAt parts n;
      short = part 0 "" + part 1 ".0" + part 2 "";
    in
    if parts != null && fromJSON short == number then
      short
    else if number < 0.0 then
      "(-${exact (0.0 - number)})"
    else
      exact number;

  exact =
    number:
    let
      largest = 9007199254740992.0; # 2^53
      scale =
        mantissa: exponent:
        if mantissa >= largest then
          scale (mantissa / 2.0) (exponent + 1)
        else if mantissa < largest / 2.0 && exponent > -1074 then
          scale (mantissa * 2.0) (exponent - 1)
        else
          "(${toString (floor mantissa)}.0 * 2.0 ** ${toString exponent}.0)";
    in
    if number == 0.0 then
      "0.0"
    else if number - number != 0.0 then
      throw "vsmtp: neither infinity nor NaN can be written in vSL"
    else
      scale number 0;

  # A path below the store is a file of the user's flake, which the result must keep alive; any other names a file of the
  # host, perhaps a secret one, which must not be copied.
  path =
    file:
    if substring 0 (stringLength storeDir + 1) (toString file) == "${storeDir}/" then
      "${file}"
    else
      toString file;

  indented = depth: concatStringsSep "" (genList (_: "  ") depth);

  block =
    open: close: depth: items:
    if items == [ ] then
      open + close
    else
      open
      + "\n"
      + concatStringsSep "" (map (item: "${indented (depth + 1)}${item},\n") items)
      + indented depth
      + close;

  # `where` is the path of the value, for the error; `depth` indents nested lines.
  literal =
    where: depth: v:
    let
      inner = key: literal "${where}.${key}" (depth + 1);
    in
    if isAttrs v && (v ? __toString || v ? outPath) then
      string (toString v)
    else
      {
        null = _: "()";
        bool = b: if b then "true" else "false";
        int = integer;
        inherit float string;
        path = file: string (path file);
        list =
          items: block "[" "]" depth (genList (n: inner (toString n) (elemAt items n)) (length items));
        set =
          set:
          block "#{" "}" depth (map (key: "${string key}: ${inner key set.${key}}") (attrNames set));
        lambda = _: throw "vsmtp: ${where} is a function, which has no counterpart in vSL";
      }
      .${typeOf v}
        v;

  # Words that Rhai or vSL keep for themselves: as keys they are written in brackets.
  reserved = [
    "abstract"
    "action"
    "and"
    "as"
    "async"
    "await"
    "begin"
    "break"
    "call"
    "case"
    "catch"
    "const"
    "continue"
    "curry"
    "debug"
    "default"
    "delegate"
    "do"
    "each"
    "else"
    "end"
    "eval"
    "exit"
    "export"
    "extern"
    "false"
    "fn"
    "for"
    "global"
    "go"
    "goto"
    "if"
    "import"
    "in"
    "is"
    "is_def_fn"
    "is_def_var"
    "is_shared"
    "let"
    "loop"
    "match"
    "module"
    "new"
    "nil"
    "not"
    "null"
    "or"
    "package"
    "print"
    "private"
    "protected"
    "public"
    "return"
    "rule"
    "shared"
    "spawn"
    "static"
    "super"
    "switch"
    "sync"
    "then"
    "this"
    "thread"
    "throw"
    "true"
    "try"
    "type_of"
    "unless"
    "until"
    "use"
    "val"
    "var"
    "void"
    "while"
    "with"
    "xor"
    "yield"
  ];

  step =
    key:
    if match "[a-z][a-z0-9_]*" key != null && !elem key reserved then
      ".${key}"
    else
      "[${string key}]";

  isPlainSet = v: isAttrs v && !(v ? __toString) && !(v ? outPath);

  # One statement a leaf, so that an error of the daemon points at the leaf. A map that has no default yet is made first.
  statements =
    where: target: set:
    concatMap (
      key:
      let
        place = target + step key;
        v = set.${key};
      in
      if isPlainSet v then
        [ "${place} = ${place} ?? #{};" ] ++ statements "${where}.${key}" place v
      else
        [ "${place} = ${literal "${where}.${key}" 1 v};" ]
    ) (attrNames set);

  function =
    name: { settings, extraConfig }:
    ''
      fn ${name}(config) {
      ${concatStringsSep "" (map (line: "  ${line}\n") (statements "settings" "config" settings))}${
        if extraConfig == "" then "" else "${extraConfig}\n"
      }  config
      }
    '';
in
{
  # The literal of any value: null, booleans, numbers, strings, paths, packages, lists, attribute sets.
  value = literal "value" 0;

  # conf.d/config.vsl: `settings` set key by key, then the lines of `extraConfig`.
  rootConfig = function "on_config";

  # domain-enabled/NAME/config.vsl, likewise.
  domainConfig = function "on_domain_config";

  # One rule file out of several: a stage runs the directives of all of them, in the order of the list.
  joinRules =
    texts:
    ''
      let stages = #{};
      for file in [
      ${concatStringsSep "" (map (text: "{\n${text}\n},\n") texts)}] {
        for stage in file.keys() {
          if stage in stages {
            stages[stage] += file[stage];
          } else {
            stages[stage] = file[stage];
          }
        }
      }
      stages
    '';
}
