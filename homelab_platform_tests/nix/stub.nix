# A small stand-in for nixpkgs' module system: enough to evaluate nix/ for one host of one lab, and to see every option
# that it sets. Options are not declared here: the paths are compared with a list of NixOS' own.
#   nix-instantiate --eval --strict --json stub.nix --argstr root …/nix --argstr lab …/lab.json --argstr host pi
{ root, lab, host }:
let
  b = builtins;
  theLab = b.fromJSON (b.readFile lab);
  theHost = theLab.hosts.${host};

  lib = rec {
    inherit (b) elem filter head attrNames attrValues length concatMap all any listToAttrs concatStringsSep genList;
    mapAttrs = b.mapAttrs;
    last = list: b.elemAt list (b.length list - 1);
    mkIf = condition: content: { _kind = "if"; inherit condition content; };
    mkMerge = contents: { _kind = "merge"; inherit contents; };
    mkDefault = content: { _kind = "default"; inherit content; };
    mkForce = content: { _kind = "default"; inherit content; };
    optional = c: x: if c then [ x ] else [ ];
    optionals = c: x: if c then x else [ ];
    optionalAttrs = c: x: if c then x else { };
    optionalString = c: x: if c then x else "";
    filterAttrs = f: set: b.listToAttrs (concatMap (name: optional (f name set.${name}) { inherit name; value = set.${name}; }) (attrNames set));
    mapAttrsToList = f: set: map (name: f name set.${name}) (attrNames set);
    genAttrs = names: f: b.listToAttrs (map (name: { inherit name; value = f name; }) names);
    concatMapStrings = f: list: concatStringsSep "" (map f list);
    hasPrefix = p: s: b.substring 0 (b.stringLength p) s == p;
    removePrefix = p: s: if hasPrefix p s then b.substring (b.stringLength p) (b.stringLength s) s else s;
    splitString = sep: s: filter b.isString (b.split sep s);
    hasInfix = infix: s: length (splitString infix s) > 1;
    unique = b.foldl' (acc: x: if elem x acc then acc else acc ++ [ x ]) [ ];
    subtractLists = without: filter (x: !(elem x without));
    max = x: y: if x > y then x else y;
    toInt = b.fromJSON;
  };

  # A package is its name; the few functions of pkgs that modules call give a path.
  pkgs = b.listToAttrs (map (name: { inherit name; value = "/nix/store/package-${name}"; }) [
    "bashInteractive" "zsh" "fish" "shadow" "python3Minimal"
  ]) // { writeText = name: text: "/nix/store/text-${name}"; };

  load = path: let m = import path; in if b.isFunction m then m { inherit lib pkgs host lab; } else m;
  args = { inherit lib pkgs; lab = theLab; host = theHost; };
  loadModule = path:
    let
      file = if b.pathExists (path + "/default.nix") then path + "/default.nix" else path;
      m = import file;
      body = if b.isFunction m then m args else m;
    in
    [ (body.config or (b.removeAttrs body [ "imports" ])) ] ++ b.concatMap loadModule (body.imports or [ ]);

  # Conditions decided, defaults taken: a list of plain values for one place.
  settle = value:
    if b.isAttrs value && value ? _kind then
      if value._kind == "if" then (if value.condition then settle value.content else [ ])
      else if value._kind == "merge" then b.concatMap settle value.contents
      else settle value.content
    else
      [ value ];

  merge = values:
    let
      flat = b.concatMap settle values;
      keys = lib.unique (b.concatMap b.attrNames flat);
    in
    if flat == [ ] then { _absent = true; }
    else if lib.all b.isAttrs flat && !(lib.any (v: v ? type && v.type == "derivation") flat) then
      lib.filterAttrs (_: v: !(b.isAttrs v && v ? _absent))
        (b.listToAttrs (map (name: { inherit name; value = merge (map (v: v.${name}) (b.filter (v: v ? ${name}) flat)); }) keys))
    else if lib.all b.isList flat then b.concatLists (map (l: map (v: if b.isAttrs v then merge [ v ] else v) l) flat)
    else if b.length flat == 1 then b.head flat
    else if lib.all (v: v == b.head flat) flat then b.head flat
    else throw "two values for one option: ${b.toJSON flat}";

  config = merge (loadModule (b.toPath "${root}/modules"));
  failed = b.filter (a: !a.assertion) (config.assertions or [ ]);
in
if failed != [ ] then throw (b.head failed).message else b.removeAttrs config [ "assertions" ]
