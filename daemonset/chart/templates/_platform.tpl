{{/*
Where each distribution keeps things on the host, by its documentation. credentialBinDir is the folder that
`tripod-credential-provider kubelet-config --platform …` names. readOnly: no DaemonSet can put a provider there.
*/}}
{{- define "tripod.platforms" -}}
kubeadm: {}
kind: {}
minikube: {}
k3s:
  cniBinDir: /var/lib/rancher/k3s/data/cni
  cniConfDir: /var/lib/rancher/k3s/agent/etc/cni/net.d
  credentialBinDir: /var/lib/rancher/credentialprovider/bin
rke2:
  credentialBinDir: /var/lib/rancher/credentialprovider/bin
k0s:
  kubeletDir: /var/lib/k0s/kubelet
microk8s:
  cniBinDir: /var/snap/microk8s/current/opt/cni/bin
  cniConfDir: /var/snap/microk8s/current/args/cni-network
  kubeletDir: /var/snap/microk8s/common/var/lib/kubelet
eks:
  credentialBinDir: /etc/eks/image-credential-provider
gke:
  cniBinDir: /home/kubernetes/bin
  credentialBinDir: /home/kubernetes/bin
aks:
  credentialBinDir: /var/lib/kubelet/credential-provider
# The folder of its own kubelet lies below /usr, which is read-only: the kubelet has to be told of this one.
openshift:
  cniBinDir: /var/lib/cni/bin
  cniConfDir: /etc/cni/multus/net.d
  seLinuxOptions: {type: spc_t}
talos:
  readOnly: true
bottlerocket:
  readOnly: true
  seLinuxOptions: {user: system_u, role: system_r, type: super_t, level: s0}
{{- end }}

{{/* The folders of this release's nodes: kubeadm's, then the platform's, then the admin's. */}}
{{- define "tripod.host" -}}
{{- $host := dict
      "cniBinDir" "/opt/cni/bin"
      "cniConfDir" "/etc/cni/net.d"
      "kubeletDir" "/var/lib/kubelet"
      "credentialBinDir" "/opt/tripod/credential-provider"
      "readOnly" false
      "seLinuxOptions" dict -}}
{{- $host = mustMergeOverwrite $host (get (include "tripod.platforms" . | fromYaml) .Values.platform) -}}
{{- range $name, $path := .Values.paths }}{{ if $path }}{{ $_ := set $host $name $path }}{{ end }}{{ end -}}
{{- with .Values.seLinuxOptions }}{{ $_ := set $host "seLinuxOptions" . }}{{ end -}}
{{- toYaml $host -}}
{{- end }}
