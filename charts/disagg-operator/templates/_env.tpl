{{/* The operator's configuration. All of it is in the pod template (profiles as a checksum), so that a change restarts the pods. */}}
{{- define "disagg-operator.env" -}}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: POD_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
- name: DISAGG_NAMESPACES
  value: {{ join "," .Values.watch.namespaces | quote }}
- name: DISAGG_PREFLIGHT_NODES
  value: {{ include "disagg-operator.preflight" . | quote }}
- name: DISAGG_COMPUTE_DOMAINS
  value: {{ .Values.computeDomain.enabled | quote }}
- name: DISAGG_GANG_SCHEDULING
  value: {{ .Values.gangScheduling.enabled | quote }}
- name: DISAGG_NETWORK_POLICIES
  value: {{ .Values.network.policies | quote }}
- name: DISAGG_METRICS_FROM
  value: {{ include "disagg-operator.metricsFrom" . | quote }}
- name: DISAGG_WORKER_IMAGE
  value: {{ .Values.worker.image | quote }}
- name: DISAGG_ETCD_IMAGE
  value: {{ .Values.discovery.etcd.image | quote }}
- name: DISAGG_NATS_IMAGE
  value: {{ .Values.discovery.nats.image | quote }}
- name: DISAGG_DISCOVERY_ROLE_KIND
  value: {{ include "disagg-operator.discoveryRoleKind" . }}
- name: DISAGG_DISCOVERY_ROLE_NAME
  value: {{ include "disagg-operator.discoveryRoleName" . }}
- name: DISAGG_LEASE_NAMESPACE
  value: {{ .Release.Namespace }}
- name: DISAGG_LEASE_NAME
  value: {{ include "disagg-operator.fullname" . }}
- name: DISAGG_HTTP_PORT
  value: "8080"
- name: DISAGG_LOG_LEVEL
  value: {{ .Values.logging.level }}
- name: DISAGG_LOG_FORMAT
  value: {{ .Values.logging.format }}
{{ include "disagg-operator.tenantsEnv" . }}
{{- if include "disagg-operator.hasPlatforms" . }}
{{ include "disagg-operator.platformsVariable" . }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* What resources may ask of their nodes: operator and webhook judge alike. */}}
{{- define "disagg-operator.tenantsEnv" -}}
- name: DISAGG_HOST_ACCESS
  value: {{ .Values.tenants.hostAccess }}
- name: DISAGG_HOST_PATHS
  value: {{ join "," .Values.tenants.hostPaths | quote }}
{{- end }}
