{{/* The one place that names the flags of `uninstall`. The paths are the container's. */}}
{{- define "tripod.uninstallCommand" -}}
- /tripod-node
- uninstall
- --cni-bin-dir=/opt/cni/bin
- --conflist=/etc/cni/net.d/10-tripod.conflist
- --credential-bin-dir=/opt/tripod/credential-provider
- --etc-dir=/etc/tripod
- --state-dir=/run/tripod
- --cdi-dir=/var/run/cdi
- --sysctl-root=/host/proc/sys/net
- --stay
{{- end }}
