{{/* On which nodes a pod runs, and by which runtime; `root` and `pod`. */}}
{{- define "tripod.placement" -}}
{{- $values := .root.Values -}}
{{- $selector := $values.nodeSelector -}}
{{- if .pod.apart }}{{ $selector = merge dict $values.devicePlugin.nodeSelector $selector }}{{ end -}}
{{- if .pod.nvidia }}{{ $selector = merge dict $values.nvidia.nodeSelector $selector }}{{ end -}}
nodeSelector:
  {{- toYaml $selector | nindent 2 }}
{{- if and .pod.apart $values.nvidia.enabled }}
{{- if $values.devicePlugin.affinity }}
{{- fail "devicePlugin.affinity: with nvidia.enabled the affinity keeps the plain device plugin off nodes with GPUs; use devicePlugin.nodeSelector" }}
{{- end }}
affinity:
  nodeAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
      # Terms are alternatives: a node that lacks any of these labels is one without GPUs.
      nodeSelectorTerms:
        {{- range $key, $value := $values.nvidia.nodeSelector }}
        - matchExpressions:
            - {key: {{ $key }}, operator: NotIn, values: [{{ $value | quote }}]}
        {{- end }}
{{- else if and .pod.apart $values.devicePlugin.affinity }}
affinity:
  {{- toYaml $values.devicePlugin.affinity | nindent 2 }}
{{- end }}
{{- if and .pod.nvidia (not $values.nvidia.privileged) }}
runtimeClassName: {{ $values.nvidia.runtimeClassName }}
{{- end }}
{{- end }}
