# Firewall rules of lab.json as lines of nftables for the input hook. `host.sources` holds the networks that each word
# of a rule's `from` means; for `internet` those that are not it.
{ lib, host }:
let
  isSix = network: lib.hasInfix ":" network;
  numbers =
    protocol: ports:
    map (lib.removePrefix "${protocol}/") (lib.filter (lib.hasPrefix "${protocol}/") ports);
  set = members: "{ ${lib.concatStringsSep ", " members} }";

  # Lines that let ports through, or not, where `match` holds.
  lines =
    { match, verdict, ports, name }:
    lib.concatMap (
      protocol:
      let
        these = lib.unique (numbers protocol ports);
      in
      lib.optional (these != [ ]) "${match}${protocol} dport ${set these} ${verdict} comment \"${name}\""
    ) [ "tcp" "udp" ];

  # One rule, for one verdict: for each address family the networks that it names, and the internet if it does.
  rule =
    verdict: ports: said:
    let
      words = said.from or [ "any" ];
      on = lib.optionalString ((said.interface or null) != null) "iifname \"${said.interface}\" ";
      named = lib.unique (lib.concatMap (word: host.sources.${word} or [ ]) (lib.filter (word: word != "internet") words));
      inside = host.sources.internet or [ ];
      ofFamily = six: lib.filter (network: isSix network == six);
      family =
        six:
        let
          word = if six then "ip6" else "ip";
          these = ofFamily six named;
          notThese = ofFamily six inside;
          at = match: lines { inherit verdict ports match; inherit (said) name; };
        in
        lib.optionals (these != [ ]) (at "${on}${word} saddr ${set these} ")
        ++ lib.optionals (lib.elem "internet" words && notThese != [ ]) (at "${on}${word} saddr != ${set notThese} ");
    in
    if lib.elem "any" words then
      lines { inherit verdict ports; match = on; inherit (said) name; }
    else
      family false ++ family true;
in
lib.concatMap (said: rule "drop" (said.deny or [ ]) said) host.firewall
++ lib.concatMap (said: rule "accept" (said.allow or [ ]) said) host.firewall
