# The functions of nixpkgs' lib that nix/ calls, for where nixpkgs is not. What belongs to the module system (options,
# types, priorities) is marked here and understood by stub.nix.
let
  b = builtins;
in
rec {
  inherit (b) elem elemAt filter head tail attrNames attrValues length concatMap any all listToAttrs concatStringsSep mapAttrs;
  inherit (b) isString isList isAttrs replaceStrings concatLists foldl' groupBy;
  removeAttrs = b.removeAttrs;
  isFunction = b.isFunction;
  findFirst = f: otherwise: list: head (filter f list ++ [ otherwise ]);
  last = list: elemAt list (length list - 1);
  take = n: list: b.genList (elemAt list) (min n (length list));
  drop = n: list: b.genList (i: elemAt list (i + max 0 n)) (max 0 (length list - max 0 n));
  range = from: to: if from > to then [ ] else b.genList (n: from + n) (to - from + 1);
  optional = c: x: if c then [ x ] else [ ];
  optionalAttrs = c: x: if c then x else { };
  optionals = c: x: if c then x else [ ];
  optionalString = c: x: if c then x else "";
  filterAttrs = f: set: b.listToAttrs (concatMap (name: optional (f name set.${name}) { inherit name; value = set.${name}; }) (attrNames set));
  mapAttrs' = f: set: b.listToAttrs (mapAttrsToList f set);
  mapAttrsToList = f: set: map (name: f name set.${name}) (attrNames set);
  concatMapAttrs = f: set: foldl' (all: more: all // more) { } (mapAttrsToList f set);
  genAttrs = names: f: b.listToAttrs (map (name: { inherit name; value = f name; }) names);
  recursiveUpdate = left: right:
    if isAttrs left && isAttrs right then left // mapAttrs (name: value: if left ? ${name} then recursiveUpdate left.${name} value else value) right
    else right;
  attrByPath = path: otherwise: set:
    if path == [ ] then set
    else if set ? ${head path} then attrByPath (tail path) otherwise set.${head path}
    else otherwise;
  setAttrByPath = path: value: if path == [ ] then value else { ${head path} = setAttrByPath (tail path) value; };
  concatStrings = concatStringsSep "";
  concatMapStrings = f: list: concatStrings (map f list);
  concatMapStringsSep = sep: f: list: concatStringsSep sep (map f list);
  substring = b.substring;
  hasPrefix = p: s: b.substring 0 (b.stringLength p) s == p;
  removePrefix = p: s: if hasPrefix p s then b.substring (b.stringLength p) (b.stringLength s) s else s;
  splitString = sep: s: filter isString (b.split (escape sep) s);
  escape = let special = [ "." "*" "{" "}" "(" ")" "+" "?" "$" "|" ]; in replaceStrings special (map (c: "[${c}]") special);
  hasInfix = infix: s: length (splitString infix s) > 1;
  escapeShellArg = s: "'${replaceStrings [ "'" ] [ "'\\''" ] (toString s)}'";
  escapeShellArgs = concatMapStringsSep " " escapeShellArg;
  toInt = b.fromJSON;
  unique = foldl' (acc: x: if elem x acc then acc else acc ++ [ x ]) [ ];
  max = x: y: if x > y then x else y;
  min = x: y: if x < y then x else y;
  getName = package: package.pname;
  getExe = package: "${package}/bin/${package.pname}";

  mkIf = condition: content: { _kind = "if"; inherit condition content; };
  mkMerge = contents: { _kind = "merge"; inherit contents; };
  mkOverride = priority: content: { _kind = "override"; inherit priority content; };
  mkDefault = mkOverride 1000;
  mkForce = mkOverride 50;
  mkOption = option: option // { _kind = "option"; };

  # A type says whether a value fits (`fits`), and how values of several modules become one (`merges`).
  types = let one = name: fits: { inherit name fits; merges = "one"; }; in rec {
    raw = one "raw" (_: true);
    anything = one "anything" (_: true) // { merges = "any"; };
    str = one "string" isString;
    bool = one "boolean" b.isBool;
    int = one "integer" b.isInt;
    port = one "port" (v: b.isInt v && v >= 0 && v <= 65535);
    strMatching = pattern: one "string matching ${pattern}" (v: isString v && b.match pattern v != null);
    nullOr = type: one "null or ${type.name}" (v: v == null || type.fits v);
    listOf = type: { name = "list of ${type.name}"; fits = v: isList v && all type.fits v; merges = "list"; };
    attrsOf = type: { name = "set of ${type.name}"; fits = isAttrs; merges = "set"; of = type; };
    submodule = module: { name = "submodule"; fits = isAttrs; merges = "module"; inherit module; };
  };
}
