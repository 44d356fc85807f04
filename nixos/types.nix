# The types of the options, and how options are called in messages.
{ lib }:
let
  inherit (lib) types;

  # Text may begin with a slash too: a comment does.
  isInStore =
    source: lib.isStringLike source && lib.hasPrefix "${builtins.storeDir}/" (toString source);
  isFile = source: builtins.isPath source || isInStore source;
in
rec {
  inherit isFile;

  # services.vsmtp.domains."example.com"
  domainOption = domain: "services.vsmtp.domains.${lib.strings.escapeNixIdentifier domain}";

  vsl =
    let
      value =
        types.nullOr (
          types.oneOf [
            types.bool
            types.int
            types.float
            types.str
            types.path
            (types.listOf value)
            (types.attrsOf value)
          ]
        )
        // {
          description = "vSL value (null, boolean, number, string, path, list or attribute set)";
        };
    in
    types.attrsOf value // { description = "attribute set of vSL values"; };

  # A path literal would be copied to the store, which everyone can read, as soon as it is used: only strings will do.
  secretFile = lib.mkOptionType {
    name = "secretFile";
    description = "absolute path, as a string, of a file outside of the Nix store (which everyone can read)";
    descriptionClass = "noun";
    check =
      file:
      builtins.isString file
      && lib.hasPrefix "/" file
      && !builtins.hasContext file
      && !lib.hasPrefix builtins.storeDir file;
    merge = lib.mergeEqualOption;
  };

  localPart = types.strMatching "[^@[:space:]]+" // {
    description = "local part of an address (what stands before the @)";
  };

  # What is wrong behind the first colon the daemon says while Nix builds.
  transport = types.strMatching "maildir|mbox|lmtp:unix:/.+|lmtp:.+:[0-9]+|smtps?://[^/]+" // {
    description = ''transport: "maildir", "mbox", "lmtp:unix:/path", "lmtp:host:port", "smtp://host:port" or "smtps://host"'';
  };

  ruleFile = types.either (types.addCheck types.path isFile) types.lines // {
    description = "file of vSL, as text or as a path";
  };

  rules =
    types.either ruleFile (types.listOf ruleFile)
    // {
      description = "file of vSL as text or as a path, or a list of those, whose stages are joined in order";
    };
}
