{{/* Programs and configuration onto the host; `root`, `pod` and `watch`. */}}
{{- define "tripod.container.install" -}}
{{ include "tripod.containerImage" .root }}
{{- $legs := list }}
{{- if .pod.cni }}{{ $legs = append $legs "cni" }}{{ end }}
{{- if .pod.credentialProvider }}{{ $legs = append $legs "credential-provider" }}{{ end }}
{{- $report := and .watch .pod.cni }}
command: [/tripod-node, install, {{ if .watch }}--watch, {{ end }}{{ if $report }}--report=/installed/report/files.json, {{ end }}--config-dir=/config, "--legs={{ join "," $legs }}"]
securityContext:
  {{- include "tripod.noRights" . | nindent 2 }}
resources:
  {{- toYaml .root.Values.resources.install | nindent 2 }}
volumeMounts:
  - {name: config, mountPath: /config, readOnly: true}
  {{- if .pod.cni }}
  - {name: cni-bin, mountPath: /opt/cni/bin}
  {{- end }}
  {{- if .pod.credentialProvider }}
  - {name: credential-bin, mountPath: /opt/tripod/credential-provider}
  {{- end }}
  - {name: etc, mountPath: /etc/tripod}
  {{- if $report }}
  - {name: installed, mountPath: /installed}
  {{- end }}
{{- end }}

{{- define "tripod.container.net" -}}
{{ include "tripod.containerImage" . }}
command:
  - /tripod-node
  - agent
  - --config=/config/node.yaml
  - --sysctl-root=/host/proc/sys/net
  - --install-report=/installed/report/files.json
  {{- if .Values.startupTaint }}
  - --startup-taint=tripod.dev/agent-not-ready
  {{- end }}
env:
  - name: NODE_NAME
    valueFrom:
      fieldRef:
        fieldPath: spec.nodeName
{{- if .Values.podMonitor.enabled }}
ports:
  - {name: net, containerPort: 9675, protocol: TCP}
{{- end }}
securityContext:
  {{- include "tripod.noRights" . | nindent 2 }}
    # Tables inet tripod and bridge tripod.
    add: [NET_ADMIN]
{{ include "tripod.probes" 9674 }}
resources:
  {{- toYaml .Values.resources.net | nindent 2 }}
volumeMounts:
  - {name: config, mountPath: /config, readOnly: true}
  - {name: token, mountPath: /var/run/secrets/kubernetes.io/serviceaccount, readOnly: true}
  - {name: cni-conf, mountPath: /etc/cni/net.d}
  - {name: run, mountPath: /run/tripod}
  # A container's own /proc/sys is read-only.
  - {name: sysctl, mountPath: /host/proc/sys/net}
  - {name: installed, mountPath: /installed, readOnly: true}
{{- end }}

{{/* `root`, and `nvidia` for the one that may open NVIDIA's driver. */}}
{{- define "tripod.container.device-plugin" -}}
{{- $values := .root.Values -}}
{{ include "tripod.containerImage" .root }}
command:
  - /tripod-device-plugin
  - run
  - --config=/config/device-plugin.yaml
  - --host-root=/host
  {{- if .nvidia }}
  - --nvidia-driver-root={{ $values.nvidia.driverRoot }}
  {{- end }}
  {{- if $values.podMonitor.enabled }}
  - --metrics-addr={{ $values.podMonitor.listenAddress }}:9677
  {{- end }}
{{- if and .nvidia (not $values.nvidia.privileged) }}
env:
  # What the runtime class goes by: every GPU, and NVML beside it.
  - {name: NVIDIA_VISIBLE_DEVICES, value: all}
  - {name: NVIDIA_DRIVER_CAPABILITIES, value: utility}
{{- end }}
{{- if $values.podMonitor.enabled }}
ports:
  - {name: devices, containerPort: 9677, protocol: TCP}
{{- end }}
securityContext:
{{- if and .nvidia $values.nvidia.privileged }}
  # nvidia.privileged: the only way to the driver's nodes without a runtime class.
  privileged: true
  readOnlyRootFilesystem: true
{{- else }}
  {{- include "tripod.noRights" . | nindent 2 }}
{{- end }}
{{ include "tripod.probes" 9676 }}
resources:
  {{- toYaml $values.resources.devicePlugin | nindent 2 }}
volumeMounts:
  - {name: config, mountPath: /config, readOnly: true}
  - {name: device-plugins, mountPath: /var/lib/kubelet/device-plugins}
  {{- if .nvidia }}
  # The driver's libraries and programs; mounts that come later too, such as the operator's driver.
  - {name: host, mountPath: /host, readOnly: true, mountPropagation: HostToContainer}
  {{- if $values.nvidia.mps }}
  # The same path on both sides: clients are given it.
  - {name: mps, mountPath: /run/tripod-mps}
  - {name: mps-shm, mountPath: /dev/shm}
  {{- end }}
  {{- else }}
  - {name: dev, mountPath: /host/dev, readOnly: true}
  - {name: sys, mountPath: /host/sys, readOnly: true}
  - {name: proc, mountPath: /host/proc, readOnly: true}
  {{- end }}
  - {name: cdi, mountPath: /var/run/cdi}
  - {name: pod-resources, mountPath: /var/lib/kubelet/pod-resources, readOnly: true}
{{- end }}
