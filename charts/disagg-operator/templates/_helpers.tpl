{{/* Name of the application, part of every object's labels. */}}
{{- define "disagg-operator.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" }}
{{- end }}

{{/* Prefix of all object names. 50 characters leave room for suffixes within the 63 of a DNS label. */}}
{{- define "disagg-operator.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- $name := include "disagg-operator.name" . }}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* Labels that select the operator's pods; they never change between versions. */}}
{{- define "disagg-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ include "disagg-operator.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{/* Labels of every object of the chart. */}}
{{- define "disagg-operator.labels" -}}
app.kubernetes.io/name: {{ include "disagg-operator.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: disagg-operator
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "disagg-operator.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (include "disagg-operator.fullname" .) }}
{{- end }}

{{/* Operator image: registry/repository:tag, or registry/repository@digest. */}}
{{- define "disagg-operator.image" -}}
{{- with .Values.global.imageRegistry }}{{ . | trimSuffix "/" }}/{{ end }}
{{- .Values.image.repository }}
{{- if .Values.image.digest }}@{{ .Values.image.digest }}
{{- else }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}
{{- end }}

{{/* Topology spread constraints (`constraints`); one without a labelSelector gets the labels of `selector`. */}}
{{- define "disagg-operator.spread" -}}
{{- $own := dict "labelSelector" (dict "matchLabels" (.selector | fromYaml)) }}
{{- $whole := list }}
{{- range .constraints }}
{{- $whole = append $whole (ternary (merge (dict) . $own) . (empty .labelSelector)) }}
{{- end }}
{{- toYaml $whole }}
{{- end }}

{{/* Role that the workers of every deployment are bound to: a ClusterRole, or one Role per watched namespace. */}}
{{- define "disagg-operator.discoveryRoleName" -}}
{{ include "disagg-operator.fullname" . }}-discovery
{{- end }}

{{- define "disagg-operator.discoveryRoleKind" -}}
{{ ternary "Role" "ClusterRole" (not (empty .Values.watch.namespaces)) }}
{{- end }}

{{/* "true" if the operator may read nodes, namespaces and DeviceClasses of the whole cluster. */}}
{{- define "disagg-operator.preflight" -}}
{{ ternary .Values.preflight.nodes (empty .Values.watch.namespaces) (kindIs "bool" .Values.preflight.nodes) }}
{{- end }}

{{/* Who may read the metrics of deployments. Where Prometheus of a PodMonitor runs, only the user knows. */}}
{{- define "disagg-operator.metricsFrom" -}}
{{- $anybody := list (dict "namespaceSelector" (dict)) }}
{{- .Values.network.metricsFrom | default (ternary $anybody list .Values.podMonitor.enabled) | toJson }}
{{- end }}

{{/* "true" if rendering talks to a cluster whose namespace of the release exists, so that lookups mean something. */}}
{{- define "disagg-operator.connected" -}}
{{- if lookup "v1" "ServiceAccount" .Release.Namespace "default" }}true{{ end }}
{{- end }}

{{/*
"true" if this release installs Dynamo's CRD: it is asked for, and the cluster has none or this release's own.
Rendering our own again on upgrades matters: what a release no longer renders, Helm deletes.
*/}}
{{- define "disagg-operator.ownsDynamoCrd" -}}
{{- if .Values.dynamo.crd.enabled }}
{{- $found := lookup "apiextensions.k8s.io/v1" "CustomResourceDefinition" "" "dynamoworkermetadatas.nvidia.com" }}
{{- $annotations := dig "metadata" "annotations" (dict) ($found | default dict) }}
{{- $ours := and (eq (index $annotations "meta.helm.sh/release-name" | default "") .Release.Name) (eq (index $annotations "meta.helm.sh/release-namespace" | default "") .Release.Namespace) }}
{{- if or (not $found) $ours }}true{{ end }}
{{- end }}
{{- end }}
