{{/*
What the operator may do, and nothing else: the end-to-end test compares these verbs with the API server's audit
log and fails on one that is never used. Server-side apply is `patch`, and `create` when the object is new.
*/}}
{{- define "disagg-operator.rules" -}}
- apiGroups: [disagg.dev]
  resources: [disaggdeployments]
  verbs: [list, watch]
# Of roles that are scaled from outside. Their counts are others' to write: a patch mends labels and owner.
- apiGroups: [disagg.dev]
  resources: [disaggscalers]
  verbs: [list, watch, create, patch, delete]
- apiGroups: [disagg.dev]
  resources: [disaggdeployments/status, disaggscalers/status]
  verbs: [patch]
# Asked for by OwnerReferencesPermissionEnforcement, where it is on, of who makes an owner wait for its children.
- apiGroups: [disagg.dev]
  resources: [disaggdeployments/finalizers]
  verbs: [update]
- apiGroups: [""]
  resources: [configmaps, serviceaccounts, services]
  verbs: [list, watch, create, patch, delete]
- apiGroups: [apps]
  resources: [statefulsets]
  verbs: [list, watch, create, patch, delete]
# Fetches a model into a cache, before workers start.
- apiGroups: [batch]
  resources: [jobs]
  verbs: [list, watch, create, patch, delete]
- apiGroups: [rbac.authorization.k8s.io]
  resources: [rolebindings]
  verbs: [list, watch, create, patch, delete]
# Of the roles, of the frontend, and of an etcd or NATS of several members.
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [list, watch, create, patch, delete]
{{- if .Values.network.policies }}
# Who may reach the pods of a deployment.
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [list, watch, create, patch, delete]
{{- end }}
# Lives as long as its DisaggDeployment, with which Kubernetes' own garbage collection deletes it.
- apiGroups: [apps]
  resources: [deployments]
  verbs: [list, watch, create, patch]
# Permission to hand out the workers' role, and only that one.
- apiGroups: [rbac.authorization.k8s.io]
  resources: [{{ include "disagg-operator.discoveryRoleKind" . | lower }}s]
  resourceNames: [{{ include "disagg-operator.discoveryRoleName" . }}]
  verbs: [bind]
# Why a pod does not start, or is not made at all, is told in the status of its deployment; all pods of a group that
# lost one are deleted.
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch, delete]
# Whether KV cache moves as promised is read from the engines' logs, among others.
- apiGroups: [""]
  resources: [pods/log]
  verbs: [get]
{{- if .Values.verification.enforce }}
# Opens the readiness gate of frontends whose workers were verified, where a deployment enforces that.
- apiGroups: [""]
  resources: [pods/status]
  verbs: [patch]
{{- end }}
# The key by which the pods of a group let each other in. It is made once and never read.
- apiGroups: [""]
  resources: [secrets]
  verbs: [create]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [list, create]
# Whether what a podTemplate claims is there. Asked by name, for deployments that name some.
- apiGroups: [resource.k8s.io]
  resources: [resourceclaims, resourceclaimtemplates]
  verbs: [get]
{{- if .Values.gangScheduling.enabled }}
# What has the pods of a model instance on several nodes scheduled all or none. It is made once and never read, and goes
# with the instance.
- apiGroups: [scheduling.k8s.io]
  resources: [podgroups, workloads]
  verbs: [create]
- apiGroups: [scheduling.run.ai, scheduling.x-k8s.io]
  resources: [podgroups]
  verbs: [create]
{{- end }}
{{- if .Values.computeDomain.enabled }}
# ComputeDomains of deployments on NVLink platforms, and the claim templates that NVIDIA's driver makes for them.
- apiGroups: [resource.nvidia.com]
  resources: [computedomains]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [resource.k8s.io]
  resources: [resourceclaimtemplates]
  verbs: [list, watch]
# A deployment with a ComputeDomain carries a finalizer, which keeps the domain until the last worker is gone.
- apiGroups: [disagg.dev]
  resources: [disaggdeployments]
  verbs: [patch]
{{- end }}
{{- end }}

{{/* What condition PlatformReady is made from: objects of the whole cluster, and only in a ClusterRole. */}}
{{- define "disagg-operator.preflightRules" -}}
- apiGroups: [""]
  resources: [nodes, namespaces]
  verbs: [list, watch]
- apiGroups: [resource.k8s.io]
  resources: [deviceclasses]
  verbs: [list, watch]
{{- end }}

{{/* What Dynamo's Kubernetes discovery needs in the pods of a deployment: see ready workers, announce oneself. */}}
{{- define "disagg-operator.discoveryRules" -}}
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [list, watch]
- apiGroups: [nvidia.com]
  resources: [dynamoworkermetadatas]
  verbs: [list, watch, create, patch]
{{- end }}
