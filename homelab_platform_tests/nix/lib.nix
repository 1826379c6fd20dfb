# The functions of nixpkgs' lib that nix/ calls, for where nixpkgs is not.
let
  b = builtins;
in
rec {
  inherit (b) elem filter head attrNames attrValues length concatMap all any listToAttrs concatStringsSep mapAttrs;
  findFirst = f: otherwise: list: head (filter f list ++ [ otherwise ]);
  last = list: b.elemAt list (b.length list - 1);
  mkIf = condition: content: { _kind = "if"; inherit condition content; };
  mkMerge = contents: { _kind = "merge"; inherit contents; };
  mkOverride = priority: content: { _kind = "override"; inherit priority content; };
  mkDefault = mkOverride 1000;
  optional = c: x: if c then [ x ] else [ ];
  optionalAttrs = c: x: if c then x else { };
  optionals = c: x: if c then x else [ ];
  optionalString = c: x: if c then x else "";
  filterAttrs = f: set: b.listToAttrs (concatMap (name: optional (f name set.${name}) { inherit name; value = set.${name}; }) (attrNames set));
  mapAttrs' = f: set: b.listToAttrs (mapAttrsToList f set);
  mapAttrsToList = f: set: map (name: f name set.${name}) (attrNames set);
  genAttrs = names: f: b.listToAttrs (map (name: { inherit name; value = f name; }) names);
  attrByPath = path: otherwise: set:
    if path == [ ] then set
    else if set ? ${head path} then attrByPath (b.tail path) otherwise set.${head path}
    else otherwise;
  setAttrByPath = path: value: if path == [ ] then value else { ${head path} = setAttrByPath (b.tail path) value; };
  concatMapStrings = f: list: concatStringsSep "" (map f list);
  concatMapStringsSep = sep: f: list: concatStringsSep sep (map f list);
  hasPrefix = p: s: b.substring 0 (b.stringLength p) s == p;
  removePrefix = p: s: if hasPrefix p s then b.substring (b.stringLength p) (b.stringLength s) s else s;
  splitString = sep: s: filter b.isString (b.split "[${sep}]" s);
  hasInfix = infix: s: length (splitString infix s) > 1;
  unique = b.foldl' (acc: x: if elem x acc then acc else acc ++ [ x ]) [ ];
  subtractLists = without: filter (x: !(elem x without));
  max = x: y: if x > y then x else y;
  min = x: y: if x < y then x else y;
  getName = package: package.pname;
}
