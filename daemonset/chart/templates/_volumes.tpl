{{/* A folder of the host that is made when it is not there; name and path. */}}
{{- define "tripod.hostFolder" -}}
- name: {{ first . }}
  hostPath: {path: {{ last . }}, type: DirectoryOrCreate}
{{- end }}

{{/* A folder of the host that every host has; name and path. */}}
{{- define "tripod.systemFolder" -}}
- name: {{ first . }}
  hostPath: {path: {{ last . }}, type: Directory}
{{- end }}

{{/* A folder for what cannot be on the host; name. It ends with the pod. */}}
{{- define "tripod.discarded" -}}
- name: {{ . }}
  emptyDir: {sizeLimit: 32Mi}
{{- end }}

{{/* The volumes of a pod; `root` and `pod`. */}}
{{- define "tripod.volumes" -}}
{{- $host := include "tripod.host" .root | fromYaml -}}
{{- $pod := .pod -}}
{{- if and $pod.cni $pod.devicePlugin $pod.credentialProvider -}}
- name: config
  configMap: {name: tripod-config}
{{- else -}}
- name: config
  configMap:
    name: tripod-config
    # Two pods that install one file would fight over it while a change spreads.
    items:
      {{- if $pod.cni }}
      - {key: node.yaml, path: node.yaml}
      {{- end }}
      {{- if $pod.devicePlugin }}
      - {key: device-plugin.yaml, path: device-plugin.yaml}
      {{- end }}
      {{- if $pod.credentialProvider }}
      - {key: credential-provider.yaml, path: credential-provider.yaml}
      {{- end }}
{{- end }}
{{- if or $pod.cni $pod.credentialProvider }}
{{- if $pod.cni }}
{{ include "tripod.hostFolder" (list "cni-bin" $host.cniBinDir) }}
{{- end }}
{{- if $pod.credentialProvider }}
# By default beside /opt/cni: writable wherever that is, which /usr is not on systems with a read-only image.
{{ include "tripod.hostFolder" (list "credential-bin" $host.credentialBinDir) }}
{{- end }}
{{ include "tripod.hostFolder" (list "etc" "/etc/tripod") }}
{{- end }}
{{- if $pod.cni }}
{{ include "tripod.hostFolder" (list "cni-conf" $host.cniConfDir) }}
# The one path that must be the same on both sides: the conflist names it.
{{ include "tripod.hostFolder" (list "run" "/run/tripod") }}
{{ include "tripod.systemFolder" (list "sysctl" "/proc/sys/net") }}
# What "files" tells "net" about the host's files.
{{ include "tripod.discarded" "installed" }}
{{- end }}
{{- if $pod.devicePlugin }}
{{ include "tripod.hostFolder" (list "device-plugins" (printf "%s/device-plugins" $host.kubeletDir)) }}
{{- if $pod.nvidia }}
{{ include "tripod.systemFolder" (list "host" "/") }}
{{- if .root.Values.nvidia.mps }}
{{ include "tripod.hostFolder" (list "mps" "/run/tripod-mps") }}
{{ include "tripod.hostFolder" (list "mps-shm" "/run/tripod-mps/shm") }}
{{- end }}
{{- else }}
{{ include "tripod.systemFolder" (list "dev" "/dev") }}
{{ include "tripod.systemFolder" (list "sys" "/sys") }}
# Which cards carry the node's routes, and what NVIDIA's kernel module tells.
{{ include "tripod.systemFolder" (list "proc" "/proc") }}
{{- end }}
{{ include "tripod.hostFolder" (list "cdi" "/var/run/cdi") }}
{{ include "tripod.hostFolder" (list "pod-resources" (printf "%s/pod-resources" $host.kubeletDir)) }}
{{- end }}
{{- if $pod.cni }}
- name: token
  projected:
    # 0400, which versions of YAML read differently.
    defaultMode: 256
    sources:
      - serviceAccountToken: {path: token, expirationSeconds: 3600}
      - configMap:
          name: kube-root-ca.crt
          items: [{key: ca.crt, path: ca.crt}]
{{- end }}
{{- end }}
