{{/* Which legs are on. */}}
{{- define "tripod.legs" -}}
{{- $host := include "tripod.host" . | fromYaml -}}
{{- $credentials := .Values.credentialProvider.enabled -}}
{{- if eq (toString $credentials) "auto" }}{{ $credentials = not $host.readOnly }}{{ end -}}
{{- if and $credentials $host.readOnly (not .Values.paths.credentialBinDir) -}}
{{- fail (printf "credentialProvider.enabled: on %s the kubelet's folder of credential providers is read-only, so no DaemonSet can install one; leave it at auto, or give paths.credentialBinDir if your node image differs" .Values.platform) -}}
{{- end -}}
{{- if not (or .Values.cni.enabled .Values.devicePlugin.enabled $credentials) -}}
{{- fail "cni.enabled, devicePlugin.enabled and credentialProvider.enabled are all off: nothing is left to install" -}}
{{- end -}}
{{- dict "cni" .Values.cni.enabled "devicePlugin" .Values.devicePlugin.enabled "credentialProvider" $credentials | toYaml -}}
{{- end }}

{{/*
The DaemonSets, each with its legs. The device plugin is a pod apart where it shall run elsewhere or with other
rights than the rest.
*/}}
{{- define "tripod.pods" -}}
{{- $legs := include "tripod.legs" . | fromYaml -}}
{{- $apart := or .Values.split .Values.nvidia.enabled -}}
{{- $rest := and $legs.credentialProvider (not .Values.split) -}}
{{- $here := and $legs.devicePlugin (not $apart) -}}
{{- $pods := list (dict "name" "tripod" "component" "node" "cni" $legs.cni "credentialProvider" $rest "devicePlugin" $here) -}}
{{- if not (or $legs.cni $rest $here) }}{{ $pods = list }}{{ end -}}
{{- if and .Values.split $legs.credentialProvider -}}
{{- $pods = append $pods (dict "name" "tripod-credential-provider" "component" "credential-provider" "credentialProvider" true) -}}
{{- end -}}
{{- if and $apart $legs.devicePlugin -}}
{{- $pods = append $pods (dict "name" "tripod-device-plugin" "component" "device-plugin" "devicePlugin" true "apart" true) -}}
{{- if .Values.nvidia.enabled -}}
{{- $pods = append $pods (dict "name" "tripod-device-plugin-nvidia" "component" "device-plugin-nvidia" "devicePlugin" true "nvidia" true) -}}
{{- end -}}
{{- end -}}
{{- toJson $pods -}}
{{- end }}

{{- define "tripod.image" -}}
{{- if not (or .Values.image.tag .Values.image.digest) }}{{ fail "image: give a tag or a digest" }}{{ end -}}
{{- .Values.image.repository }}{{ with .Values.image.tag }}:{{ . }}{{ end }}{{ with .Values.image.digest }}@{{ . }}{{ end }}
{{- end }}

{{/* What every pod of ours begins with. */}}
{{- define "tripod.podSpec" -}}
serviceAccountName: tripod
automountServiceAccountToken: false
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
priorityClassName: system-node-critical
{{- with .Values.tolerations }}
# A node without a network has taints of every kind, and needs us because of them.
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
# The network cannot wait for itself.
hostNetwork: true
dnsPolicy: Default
# Nothing is undone at the end, so there is nothing to wait for.
terminationGracePeriodSeconds: 5
securityContext:
  runAsUser: 0
  runAsGroup: 0
  seccompProfile:
    type: RuntimeDefault
  {{- with (include "tripod.host" . | fromYaml).seLinuxOptions }}
  # What SELinux lets write to the folders below.
  seLinuxOptions:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{/* The first lines of every container: its name is the caller's. */}}
{{- define "tripod.containerImage" -}}
image: {{ include "tripod.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- with .Values.log }}
{{- if or (ne .level "info") (ne .format "json") }}
args: ["--log-level={{ .level }}", "--log-format={{ .format }}"]
{{- end }}
{{- end }}
{{- end }}

{{/* Rights of a container; `add` is a list of capabilities. */}}
{{- define "tripod.noRights" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* Both probes of a container at a port of the node's loopback. */}}
{{- define "tripod.probes" -}}
livenessProbe:
  httpGet: {host: 127.0.0.1, port: {{ . }}, path: /livez}
  periodSeconds: 10
  timeoutSeconds: 5
readinessProbe:
  httpGet: {host: 127.0.0.1, port: {{ . }}, path: /readyz}
  periodSeconds: 5
  timeoutSeconds: 5
{{- end }}
