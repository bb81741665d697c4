{{/* Names and labels. A part (component) is dashboard, controller, mlflow, serving, jobs … */}}

{{- define "tidemill.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 39 | trimSuffix "-" -}}
{{- end -}}

{{- define "tidemill.fullname" -}}
{{- $name := include "tidemill.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 39 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 39 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 39 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Where the objects are: a release of several projects gives each a namespace. */}}
{{- define "tidemill.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride -}}
{{- end -}}

{{/* Labels that select the pods of a part: (list $ "dashboard"). They never change. */}}
{{- define "tidemill.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ include "tidemill.name" $root | quote }}
app.kubernetes.io/instance: {{ $root.Release.Name | quote }}
app.kubernetes.io/component: {{ index . 1 | quote }}
{{- end -}}

{{/* Labels of an object of a part, those of the values with them: (list $ "dashboard"). Ours win: selectors need them. */}}
{{- define "tidemill.labels" -}}
{{- $root := index . 0 -}}
{{- toYaml (merge (include "tidemill.ownLabels" . | fromYaml) $root.Values.commonLabels) -}}
{{- end -}}

{{- define "tidemill.ownLabels" -}}
{{- $root := index . 0 -}}
{{ include "tidemill.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
app.kubernetes.io/part-of: tidemill
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* Name of an image: (list $ "repository" "tag" "digest"). */}}
{{- define "tidemill.imageOf" -}}
{{- $root := index . 0 -}}
{{- $repository := index . 1 -}}
{{- with $root.Values.global.imageRegistry -}}
{{- $repository = printf "%s/%s" (trimSuffix "/" .) $repository -}}
{{- end -}}
{{- if index . 3 -}}
{{- printf "%s@%s" $repository (index . 3) -}}
{{- else -}}
{{- printf "%s:%s" $repository (index . 2) -}}
{{- end -}}
{{- end -}}

{{- define "tidemill.image" -}}
{{- include "tidemill.imageOf" (list . .Values.image.repository (default .Chart.AppVersion .Values.image.tag) .Values.image.digest) -}}
{{- end -}}

{{/* Name of the ServiceAccount of a part: (list $ "dashboard"). */}}
{{- define "tidemill.serviceAccount" -}}
{{- $root := index . 0 -}}
{{- ternary (printf "%s-%s" (include "tidemill.fullname" $root) (index . 1)) "default" $root.Values.serviceAccounts.create -}}
{{- end -}}

{{- define "tidemill.projectClaim" -}}
{{- default (printf "%s-project" (include "tidemill.fullname" .)) .Values.project.volume.existingClaim -}}
{{- end -}}

{{- define "tidemill.mlflowUri" -}}
{{- default (printf "http://%s-mlflow:5000" (include "tidemill.fullname" .)) .Values.mlflow.externalUri -}}
{{- end -}}

{{/* "yes" where KubeRay makes the API's Service by our name; with the incremental upgrade it makes a Gateway instead. */}}
{{- define "tidemill.ownApi" -}}
{{- if and .Values.serving.enabled (ne .Values.serving.upgrade.strategy "NewClusterWithIncrementalUpgrade") -}}yes{{- end -}}
{{- end -}}

{{- define "tidemill.apiUrl" -}}
{{- if include "tidemill.ownApi" . -}}
http://{{ include "tidemill.fullname" . }}-api:8000
{{- else -}}
{{ .Values.serving.externalUrl }}
{{- end -}}
{{- end -}}

{{/* Ports of the addresses in the values that no rule of networkPolicy.egress has, as a list in JSON. */}}
{{- define "tidemill.unlistedPorts" -}}
{{- $addresses := list .Values.objectStore.endpoint .Values.mlflow.externalUri -}}
{{- if not (include "tidemill.ownApi" .) }}{{ $addresses = append $addresses .Values.serving.externalUrl }}{{ end -}}
{{- with .Values.serving.faultTolerance.redisAddress -}}
{{- $addresses = append $addresses (printf "redis://%s" (last (splitList "://" .))) -}}
{{- end -}}
{{- range $_, $provider := .Values.oidc.config.providers -}}
{{- if kindIs "map" $provider }}{{ $addresses = append $addresses (toString (default "" $provider.issuer)) }}{{ end -}}
{{- end -}}
{{- $unlisted := list -}}
{{- range compact $addresses -}}
{{- $named := regexFind ":[0-9]+$" (urlParse .).host | trimPrefix ":" -}}
{{- $port := int (default (ternary "443" "80" (hasPrefix "https:" .)) $named) -}}
{{- $listed := list -}}
{{- range $rule := $.Values.networkPolicy.egress -}}
{{- if not $rule.ports }}{{ $listed = append $listed $rule }}{{ end -}}
{{- range $rule.ports -}}
{{- $first := int .port -}}
{{- $numbered := and .port (gt $first 0) -}}
{{- $within := and $numbered (le $first $port) (le $port (int (default $first .endPort))) -}}
{{- if and (ne (default "TCP" .protocol) "UDP") (or (not $numbered) $within) }}{{ $listed = append $listed . }}{{ end -}}
{{- end -}}
{{- end -}}
{{- if not $listed }}{{ $unlisted = append $unlisted $port }}{{ end -}}
{{- end -}}
{{- uniq $unlisted | toJson -}}
{{- end -}}
