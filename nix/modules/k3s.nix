# The host's part in the cluster.
{ lib, lab, host, ... }:
let
  cluster = lab.cluster;
  first = lib.head cluster.servers;
  isServer = host.k3s == "server";
  isFirst = host.name == first;
  several = lib.length (cluster.servers ++ cluster.agents) > 1;
  api = if cluster.api_address != null then cluster.api_address else "${first}.${lab.network.domain}";
  flag = name: value: "--${name}=${value}";
in
{
  config = lib.mkIf (host.k3s != null) {
    services.k3s = {
      enable = true;
      role = host.k3s;
      nodeName = host.name;
      nodeLabel = lib.mapAttrsToList (name: value: "${name}=${value}") host.labels;
      nodeTaint = host.taints;
      gracefulNodeShutdown.enable = true;
      extraFlags = if isServer then
        [
          (flag "cluster-cidr" lab.network.pod_cidr)
          (flag "service-cidr" lab.network.service_cidr)
          (flag "write-kubeconfig-mode" "0640")
          (flag "tls-san" api)
        ]
        ++ (cluster.settings.server_flags or [ ])
      else
        cluster.settings.agent_flags or [ ];
    }
    // lib.optionalAttrs (host.address != null) { nodeIP = host.address; }
    # The token is a file: an option's value would lie in the store, where everybody may read it.
    // lib.optionalAttrs several { tokenFile = "/var/lib/homelab/secrets/k3s-token"; }
    // lib.optionalAttrs isServer {
      disable = cluster.disabled;
      clusterInit = cluster.datastore == "etcd" && isFirst;
    }
    // lib.optionalAttrs (!isFirst) { serverAddr = "https://${api}:${toString (cluster.settings.api.port or 6443)}"; };

    # What pods reach of the node itself; the ports of the API, flannel and the kubelet are rules of lab.json.
    networking.firewall.trustedInterfaces = [ "cni0" ];
  };
}
